/** Chooses the board for a configuration. */
import { VmError } from "../base/errors.js";
import type { CreateBoard } from "./board.js";

/** @throws VmError "machine/unknown" */
export const createBoard: CreateBoard = async (config) => {
  throw new VmError("machine/unknown", `-machine ${config.machine.type}: no such board in this build`);
};
