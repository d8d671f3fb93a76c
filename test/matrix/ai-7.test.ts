import { AI_7 } from '../majors/major.ts';
import { driverOf } from './ai-sdk.ts';
import { matrixOf } from './cells.ts';

matrixOf(driverOf(AI_7));
