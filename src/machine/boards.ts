/** Chooses the board for a configuration. */
import { VmError } from "../base/errors.js";
import type { CreateBoard } from "./board.js";
import { createNone } from "./none.js";
import { createPc } from "./pc.js";
import { createPseries } from "./pseries.js";

/** @throws VmError "machine/unknown" */
export const createBoard: CreateBoard = async (config, parts) => {
  if (config.machine.type === "pc") return createPc(config, parts);
  if (config.machine.type === "pseries") return createPseries(config, parts);
  if (config.machine.type === "none") return createNone(config, parts);
  throw new VmError("machine/unknown", `-machine ${config.machine.type}: no such board in this build`);
};
