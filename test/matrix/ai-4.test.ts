import { AI_4 } from '../majors/major.ts';
import { driverOf } from './ai-sdk.ts';
import { matrixOf } from './cells.ts';

matrixOf(driverOf(AI_4));
