/** The 64-bit PowerPC guest CPU as the translator's engine takes it. */
import type { EngineSite, TcgTarget } from "../../accel/tcg/engine.js";
import type { IrBuilder } from "../../accel/tcg/ir/builder.js";
import type { PpcBus } from "./bus.js";
import type { PpcCpuModel } from "./cpu-models.js";
import { PPC_ENV } from "./env-layout.js";
import { PpcFrontEnd } from "./frontend.js";
import * as L from "./layout.js";

function hostImports(bus: PpcBus, at: EngineSite): ReturnType<TcgTarget["hostImports"]> {
  const scratch = new Uint32Array(2);
  return {
    timeBase: () => bus.timeBase(),
    hypercall: () => bus.hypercall(at.cpu()),
    decrementerSet: (deadline: number) => bus.decrementerSet(at.cpu(), deadline),
    random: () => {
      bus.random(scratch);
      at.u32.set(scratch, (at.env() + L.SCRATCH) >>> 2);
    },
    interrupt: (vector: number, nip: number) =>
      at.trace.log("int", () => `cpu ${at.cpu()}: interrupt ${vector.toString(16).padStart(4, "0")} nip=${nip.toString(16)}`),
  };
}

export function ppcTarget(model: PpcCpuModel): TcgTarget<PpcBus> {
  return {
    layout: PPC_ENV,
    ripExact: L.PC_EXACT,
    cpuIndex: L.CPU_INDEX,
    excVector: L.EXC_VECTOR,
    frontEnd: (helperIndex: (name: string) => number, builder: IrBuilder) => new PpcFrontEnd(helperIndex, model, builder),
    fpHelpers: (h) => ({
      segchk: h("h_none"),
      arith32: h("h_none"),
      arith64: h("h_none"),
      packed32: h("h_none"),
      packed64: h("h_none"),
      compare32: h("h_none"),
      compare64: h("h_none"),
      convert: h("h_none"),
    }),
    hostImports,
  };
}

/** Writes the model's words into a vCPU's state: once, before the vCPU runs. */
export function applyPpcModel(u32: Uint32Array, env: number, model: PpcCpuModel): void {
  const at = (o: number) => (env + o) >>> 2;
  u32[at(L.PVR)] = model.pvr;
  u32[at(L.PVR) + 1] = 0;
  u32[at(L.SLB_SIZE)] = model.slbEntries;
  u32[at(L.IS_ISA300)] = model.isa300 ? 1 : 0;
  u32[at(L.RMA_SIZE)] = 0xffffffff;
  u32[at(L.RMA_SIZE) + 1] = 0x0fffffff;
}
