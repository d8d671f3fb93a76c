/** The schemas of `ai` 4 are those of zod 3. */
export { z } from 'zod';
