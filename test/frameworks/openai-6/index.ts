/** The major of `openai` before the newest. */
export { default as OpenAI, AzureOpenAI } from 'openai';
