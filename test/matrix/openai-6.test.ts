import { OPENAI_6 } from '../middleware/openai-kit.ts';
import { matrixOf } from './cells.ts';
import { driverOf } from './openai.ts';

matrixOf(driverOf(OPENAI_6));
