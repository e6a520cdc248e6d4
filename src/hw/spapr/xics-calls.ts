/** The guest's ways to the interrupt controller: hypervisor calls (LoPAR §14.5.4.5) and RTAS services (§7.3.10). */
import { Hcall, type HcallHandler, type HcallTable, HStatus } from "./hcall.js";
import { type Rtas, type RtasCall, RtasStatus } from "./rtas.js";
import type { Xics } from "./xics.js";

const MASKED = 0xff;

/** @param timebase for H_XIRR_X; @param active whether the guest has not chosen another controller */
export function addXicsHcalls(
  calls: HcallTable,
  xics: Xics,
  timebase: () => { hi: number; lo: number },
  active: () => boolean,
): void {
  const table = {
    on: (code: number, handler: HcallHandler) => calls.on(code, (f) => (active() ? handler(f) : HStatus.H_FUNCTION)),
  };
  table.on(Hcall.H_CPPR, (f) => {
    xics.setCppr(f.cpu, f.lo(0) & 0xff);
    return HStatus.H_SUCCESS;
  });
  table.on(Hcall.H_IPI, (f) => {
    const server = f.arg(0);
    if (!xics.hasServer(server)) return HStatus.H_PARAMETER;
    xics.setMfrr(server, f.lo(1) & 0xff);
    return HStatus.H_SUCCESS;
  });
  table.on(Hcall.H_XIRR, (f) => {
    f.result(0, xics.accept(f.cpu));
    return HStatus.H_SUCCESS;
  });
  table.on(Hcall.H_XIRR_X, (f) => {
    f.result(0, xics.accept(f.cpu));
    const { hi, lo } = timebase();
    f.result64(1, hi, lo);
    return HStatus.H_SUCCESS;
  });
  table.on(Hcall.H_EOI, (f) => {
    xics.eoi(f.cpu, f.lo(0));
    return HStatus.H_SUCCESS;
  });
  table.on(Hcall.H_IPOLL, (f) => {
    // The caller may ask for another server; r4 names it.
    const server = f.arg(0);
    if (!xics.hasServer(server)) return HStatus.H_PARAMETER;
    const { xirr, mfrr } = xics.poll(server);
    f.result(0, xirr);
    f.result(1, mfrr);
    return HStatus.H_SUCCESS;
  });
}

export function addXicsRtas(rtas: Rtas, xics: Xics): void {
  const source = (call: RtasCall) => (xics.has(call.args[0]!) ? call.args[0]! : undefined);
  rtas.add(
    {
      name: "ibm,set-xive",
      args: 3,
      returns: 1,
      call(c) {
        const nr = source(c);
        const [, server, priority] = c.args as [number, number, number];
        if (nr === undefined || !xics.hasServer(server) || priority > MASKED) return RtasStatus.parameterError;
        xics.setSource(nr, { server, priority, savedPriority: priority });
        return RtasStatus.success;
      },
    },
    {
      name: "ibm,get-xive",
      args: 1,
      returns: 3,
      call(c) {
        const nr = source(c);
        if (nr === undefined) return RtasStatus.parameterError;
        const { server, priority } = xics.setting(nr);
        c.set(1, server);
        c.set(2, priority);
        return RtasStatus.success;
      },
    },
    {
      name: "ibm,int-off",
      args: 1,
      returns: 1,
      call(c) {
        const nr = source(c);
        if (nr === undefined) return RtasStatus.parameterError;
        const s = xics.setting(nr);
        xics.setSource(nr, { server: s.server, priority: MASKED, savedPriority: s.priority });
        return RtasStatus.success;
      },
    },
    {
      name: "ibm,int-on",
      args: 1,
      returns: 1,
      call(c) {
        const nr = source(c);
        if (nr === undefined) return RtasStatus.parameterError;
        const s = xics.setting(nr);
        xics.setSource(nr, { server: s.server, priority: s.savedPriority, savedPriority: s.savedPriority });
        return RtasStatus.success;
      },
    },
  );
}
