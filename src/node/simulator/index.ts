/** A simulator of OpenRouter and of the makers' own APIs, for tests, demos and benchmarks. */
export type { BillLine, ChargeKind, SimulatorPriceOverride, SimulatorPricing } from './bill.ts';
export type { RecordedRequest } from './recorded-request.ts';
export { DEFAULT_MODELS, type SimulatorModel } from './models.ts';
export { tokensOfText, type Fault, type Reply, type SimulatedRequest, type TokenCounts } from './script.ts';
export type { Dialect } from './wires/wire.ts';
export { startSimulator, type Simulator, type SimulatorOptions } from './simulator.ts';
