/** What the machine uses of this folder. */
export type { MemoryBlock } from "./ram-pages.js";
export { type Progress, type ReceivedState, receiveState, type Snapshotable, saveState } from "./state.js";
