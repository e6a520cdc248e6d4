/** AssemblyScript entry: everything the PowerPC runtime exports. */
export { raise, setEnv } from "./env";
export { checkPending, getCr, getXer, setCr, setMsr, setXer, updateHflags } from "./state";
export { physLoad, physStore } from "./phys";
export { debugPhys, fetchHost, fetchPhys, flushTlb, flushTlbAll, probe, protectCode, slowLoad, slowStore, tlbFill, unprotectCode } from "./mmu";
export { codeHost, codePhys, codeProbe, refill } from "./code";
export { deliverException, h_rfid, h_rfscv, h_sc, h_scv } from "./interrupts";
export { h_trace, resetCpu, serviceEvents } from "./events";
export * from "./system";
export * from "./integer";
export * from "./strings";
export { h_mcrfs, h_write_fpscr, updateFpFast } from "./fpscr";
export * from "./fp";
export * from "./vector";
export * from "./vector-float";
export * from "./crypto";
