/** The real clients, each as one shape, so that one suite can ask them all. */
import {
  AIMessageChunk,
  HumanMessage,
  type AIMessage,
  type BaseMessage,
  type UsageMetadata,
} from '@langchain/core/messages';
import { tool as langChainTool } from '@langchain/core/tools';
import type { ChatAnthropic } from '@langchain/anthropic';
import type { ChatOpenAI } from '@langchain/openai';
import type { ChatOpenRouter } from '@langchain/openrouter';
import { generateText, isStepCount, streamText, tool, type LanguageModel } from 'ai';
import type OpenAI from 'openai';
import { z } from 'zod';
import type { Simulator } from '../../src/node/simulator/index.ts';
import { OPUS, type Ask, type Client, type Told } from './simulator-kit.ts';

const QUESTION = 'How many cents are in a dollar?';
const city = z.object({ city: z.string() });
const describeWeather = ({ city: place }: { city: string }): string => `rain in ${place}`;

type Rest = Omit<Client, 'once' | 'stream' | 'weather'>;

/** A model of the AI SDK, by `generateText` and `streamText`. */
export function aiSdkClient(rest: Rest, modelOf: (sim: Simulator, id: string) => LanguageModel): Client {
  const settings = (
    sim: Simulator,
    { maxTokens, model, signal }: Ask,
  ): Parameters<typeof generateText>[0] => ({
    model: modelOf(sim, model ?? rest.model ?? OPUS),
    prompt: QUESTION,
    maxRetries: 0,
    ...(maxTokens !== undefined && { maxOutputTokens: maxTokens }),
    ...(signal && { abortSignal: signal }),
  });
  return {
    ...rest,
    async once(sim, ask) {
      const result = await generateText(settings(sim, ask));
      return toldByAiSdk(result.text, result.usage, result.response.modelId, result.finishReason);
    },
    async stream(sim, ask, onText) {
      let failure: unknown;
      const result = streamText({ ...settings(sim, ask), onError: () => {} } as Parameters<
        typeof streamText
      >[0]);
      for await (const part of result.fullStream) {
        if (part.type === 'text-delta') onText(part.text);
        if (part.type === 'error') failure ??= part.error;
        if (part.type === 'abort') failure ??= new Error('aborted');
      }
      if (failure !== undefined) throw failure;
      const { modelId } = await result.response;
      return toldByAiSdk(await result.text, await result.usage, modelId, await result.finishReason);
    },
    async weather(sim, inStream) {
      const weather = tool({ inputSchema: city, execute: describeWeather });
      const call = {
        model: modelOf(sim, rest.model ?? OPUS),
        prompt: 'Weather?',
        tools: { weather },
        stopWhen: isStepCount(3),
      };
      return inStream ? streamText(call).text : (await generateText(call)).text;
    },
  };
}

function toldByAiSdk(
  text: string,
  usage: Awaited<ReturnType<typeof generateText>>['usage'],
  model: string,
  finish: string,
): Told {
  return {
    text,
    model,
    input: usage.inputTokens,
    output: usage.outputTokens,
    cacheRead: usage.inputTokenDetails.cacheReadTokens,
    reasoning: usage.outputTokenDetails.reasoningTokens,
    finish,
  };
}

/** `client.chat.completions` of `openai`. */
export function chatClient(rest: Rest, clientOf: (sim: Simulator) => OpenAI): Client {
  const body = ({
    maxTokens,
    model,
  }: Ask): { model: string; messages: [{ role: 'user'; content: string }] } => ({
    model: model ?? rest.model ?? OPUS,
    messages: [{ role: 'user', content: QUESTION }],
    ...(maxTokens !== undefined && { max_tokens: maxTokens }),
  });
  return {
    ...rest,
    async once(sim, ask) {
      const answer = await clientOf(sim).chat.completions.create(body(ask), { signal: ask.signal });
      const failure = (answer as { error?: { message: string } }).error;
      if (failure) throw new Error(failure.message);
      const [choice] = answer.choices;
      return {
        ...toldByChat(answer.usage),
        text: choice?.message.content ?? '',
        model: answer.model,
        finish: choice?.finish_reason,
      };
    },
    async stream(sim, ask, onText) {
      const asked = { ...body(ask), stream: true, stream_options: { include_usage: true } } as const;
      const stream = await clientOf(sim).chat.completions.create(asked, { signal: ask.signal });
      const told: Told = { text: '' };
      for await (const { choices, model, usage } of stream) {
        const [choice] = choices;
        const text = choice?.delta.content ?? '';
        onText(text);
        told.text += text;
        told.model = model;
        told.finish = choice?.finish_reason ?? told.finish;
        if (usage) Object.assign(told, toldByChat(usage));
      }
      return told;
    },
    async weather(sim, inStream) {
      const parameters = { type: 'object', properties: { city: { type: 'string' } }, required: ['city'] };
      const asked = {
        model: rest.model ?? OPUS,
        messages: [{ role: 'user' as const, content: 'Weather?' }],
        tools: [
          {
            type: 'function' as const,
            function: {
              name: 'weather',
              description: 'tells the weather',
              parameters,
              parse: (json: string) => city.parse(JSON.parse(json)),
              function: describeWeather,
            },
          },
        ],
      };
      const { completions } = clientOf(sim).chat;
      const runner = inStream
        ? completions.runTools({ ...asked, stream: true })
        : completions.runTools(asked);
      return (await runner.finalContent()) ?? '';
    },
  };
}

function toldByChat(usage: OpenAI.CompletionUsage | null | undefined): Partial<Told> {
  return {
    input: usage?.prompt_tokens,
    output: usage?.completion_tokens,
    cacheRead: usage?.prompt_tokens_details?.cached_tokens,
    reasoning: usage?.completion_tokens_details?.reasoning_tokens,
  };
}

/** `client.responses` of `openai`: `create`, and `stream` with its own accumulator. */
export function responsesClient(rest: Rest, clientOf: (sim: Simulator) => OpenAI): Client {
  const body = ({ maxTokens, model }: Ask): { model: string; input: string } => ({
    model: model ?? rest.model ?? OPUS,
    input: QUESTION,
    ...(maxTokens !== undefined && { max_output_tokens: maxTokens }),
  });
  return {
    ...rest,
    async once(sim, ask) {
      return toldByResponse(await clientOf(sim).responses.create(body(ask), { signal: ask.signal }));
    },
    async stream(sim, ask, onText) {
      const stream = clientOf(sim).responses.stream(body(ask), { signal: ask.signal });
      let final: OpenAI.Responses.Response | undefined;
      for await (const event of stream) {
        if (event.type === 'response.output_text.delta') onText(event.delta);
        if (event.type === 'error') throw new Error(event.message);
        if (/^response\.(completed|incomplete|failed)$/.test(event.type)) {
          final = (event as OpenAI.Responses.ResponseCompletedEvent).response;
        }
      }
      const gathered = await stream.finalResponse();
      if (final === undefined) return { text: '' };
      if (final.status === 'completed' && textOf(gathered) !== textOf(final)) {
        throw new Error('the events and the last of them differ');
      }
      return toldByResponse(final);
    },
    async weather(sim, inStream) {
      const client = clientOf(sim);
      const parameters = { type: 'object', properties: { city: { type: 'string' } }, required: ['city'] };
      const asked = {
        model: rest.model ?? OPUS,
        tools: [{ type: 'function' as const, name: 'weather', parameters, strict: false }],
      };
      const input: OpenAI.Responses.ResponseInput = [{ role: 'user', content: 'Weather?' }];
      for (let step = 0; step < 3; step += 1) {
        const call = { ...asked, input };
        const answer = inStream
          ? await client.responses.stream(call).finalResponse()
          : await client.responses.create(call);
        const calls = answer.output.filter(
          (item) => item.type === 'function_call',
        ) as OpenAI.Responses.ResponseFunctionToolCall[];
        if (calls.length === 0) return textOf(answer);
        input.push(...calls);
        for (const { arguments: json, call_id } of calls) {
          const output = describeWeather(city.parse(JSON.parse(json)));
          input.push({ type: 'function_call_output', call_id, output });
        }
      }
      throw new Error('no end');
    },
  };
}

/** Not `output_text`, which not every version has on a gathered stream. */
function textOf(response: OpenAI.Responses.Response): string {
  const parts = response.output.flatMap((item) => (item.type === 'message' ? item.content : []));
  return parts.map((part) => (part.type === 'output_text' ? part.text : '')).join('');
}

function toldByResponse(response: OpenAI.Responses.Response): Told {
  if (response.status === 'failed') throw new Error(response.error?.message);
  const { usage } = response;
  return {
    text: textOf(response),
    model: response.model,
    input: usage?.input_tokens,
    output: usage?.output_tokens,
    cacheRead: usage?.input_tokens_details?.cached_tokens,
    reasoning: usage?.output_tokens_details?.reasoning_tokens,
    finish: response.incomplete_details?.reason ?? response.status,
  };
}

type LangChainModel = ChatAnthropic | ChatOpenAI | ChatOpenRouter;

/** A chat model of LangChain, by `invoke` and `stream`. */
export function langChainClient(
  rest: Rest,
  modelOf: (sim: Simulator, id: string, maxTokens: number | undefined) => LangChainModel,
): Client {
  const make = (sim: Simulator, ask: Ask): LangChainModel =>
    modelOf(sim, ask.model ?? rest.model ?? OPUS, ask.maxTokens);
  const gather = async (
    chunks: AsyncIterable<AIMessageChunk>,
    onText: (text: string) => void,
  ): Promise<AIMessageChunk> => {
    let whole: AIMessageChunk | undefined;
    for await (const chunk of chunks) {
      onText(chunk.text);
      whole = whole === undefined ? chunk : whole.concat(chunk);
    }
    return whole ?? new AIMessageChunk('');
  };
  return {
    ...rest,
    async once(sim, ask) {
      const options = ask.signal ? { signal: ask.signal } : {};
      return toldByLangChain((await make(sim, ask).invoke(QUESTION, options)) as AIMessage);
    },
    async stream(sim, ask, onText) {
      const options = ask.signal ? { signal: ask.signal } : {};
      const chunks = (await make(sim, ask).stream(QUESTION, options)) as AsyncIterable<AIMessageChunk>;
      return toldByLangChain(await gather(chunks, onText));
    },
    async weather(sim, inStream) {
      const weather = langChainTool(describeWeather, {
        name: 'weather',
        description: 'tells the weather',
        schema: city,
      });
      const model = make(sim, {}).bindTools([weather]);
      const messages: BaseMessage[] = [new HumanMessage('Weather?')];
      for (let step = 0; step < 3; step += 1) {
        const answer = inStream
          ? await gather((await model.stream(messages)) as AsyncIterable<AIMessageChunk>, () => {})
          : ((await model.invoke(messages)) as AIMessageChunk);
        messages.push(answer);
        if (!answer.tool_calls?.length) return answer.text;
        for (const call of answer.tool_calls)
          messages.push(await weather.invoke({ ...call, type: 'tool_call' }));
      }
      throw new Error('no end');
    },
  };
}

function toldByLangChain(message: AIMessage | AIMessageChunk): Told {
  const { response_metadata: metadata } = message;
  const usage = message.usage_metadata as UsageMetadata | undefined;
  const details = metadata['incomplete_details'] as { reason?: string } | null | undefined;
  const finish = details?.reason ?? metadata['finish_reason'] ?? metadata['stop_reason'];
  const ended = message.additional_kwargs['stop_reason'];
  const model = metadata['model_name'] ?? metadata['model'];
  return {
    text: message.text,
    model: model as string | undefined,
    input: usage?.input_tokens,
    output: usage?.output_tokens,
    cacheRead: usage?.input_token_details?.cache_read,
    reasoning: usage?.output_token_details?.reasoning,
    finish: (finish ?? ended) as string | undefined,
  };
}
