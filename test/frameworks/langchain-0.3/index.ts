/** LangChain 0.3 as its tests see it: resolved from this workspace, beside the 1.x of the root. */
export { ChatAnthropic } from '@langchain/anthropic';
export { InMemoryCache } from '@langchain/core/caches';
export { BaseCallbackHandler } from '@langchain/core/callbacks/base';
export { AIMessage, HumanMessage, SystemMessage, ToolMessage } from '@langchain/core/messages';
export { ChatPromptTemplate } from '@langchain/core/prompts';
export { RunnableLambda } from '@langchain/core/runnables';
export { tool } from '@langchain/core/tools';
export { MessagesAnnotation, StateGraph } from '@langchain/langgraph';
export { createReactAgent } from '@langchain/langgraph/prebuilt';
export { AzureChatOpenAI, ChatOpenAI, OpenAI, OpenAIEmbeddings } from '@langchain/openai';
export { AgentExecutor, createToolCallingAgent } from 'langchain/agents';
export { initChatModel } from 'langchain/chat_models/universal';
