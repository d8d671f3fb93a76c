import { AI_6 } from '../majors/major.ts';
import { driverOf } from './ai-sdk.ts';
import { matrixOf } from './cells.ts';

matrixOf(driverOf(AI_6));
