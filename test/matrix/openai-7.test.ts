import { OPENAI_7 } from '../middleware/openai-kit.ts';
import { matrixOf } from './cells.ts';
import { driverOf } from './openai.ts';

matrixOf(driverOf(OPENAI_7));
