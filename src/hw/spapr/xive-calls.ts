/** The guest's hypervisor calls to XIVE (LoPAR §14.11). */
import { Hcall, type HcallFrame, type HcallTable, HStatus } from "./hcall.js";
import { XIVE_ESB_BASE, XIVE_PAGE_SHIFT, XIVE_PRIORITIES, type Xive } from "./xive.js";

/** Flags of a source: managed by H_INT_ESB alone; a level. */
const SourceFlag = { hcall: 8, level: 4 } as const;
/** H_INT_SET_SOURCE_CONFIG: the event number is given. */
const SET_EISN = 2;
const MASKED = 0xff;
/** H_INT_ESB: a store. */
const ESB_STORE = 1;
const ESB_PAGE = 2 ** XIVE_PAGE_SHIFT;
/** Sizes of queues: log2 of their bytes. */
export const XIVE_QUEUE_SHIFTS = [16] as const;

/** @param active whether the guest has chosen this controller */
export function addXiveHcalls(table: HcallTable, xive: Xive, active: () => boolean): void {
  const on = (code: number, handler: (f: HcallFrame) => number) =>
    table.on(code, (f) => (active() ? handler(f) : HStatus.H_FUNCTION));
  const badQueue = (f: HcallFrame) =>
    !xive.hasServer(f.arg(1)) ? HStatus.H_P2 : f.arg(2) >= XIVE_PRIORITIES ? HStatus.H_P3 : undefined;

  on(Hcall.H_INT_GET_SOURCE_INFO, (f) => {
    const lisn = f.arg(1);
    if (f.arg(0) !== 0) return HStatus.H_PARAMETER;
    if (!xive.has(lisn)) return HStatus.H_P2;
    const level = xive.isLevel(lisn);
    const page = XIVE_ESB_BASE + lisn * 2 * ESB_PAGE;
    // A level is worked by calls, for only the hypervisor knows its input.
    f.result(0, level ? SourceFlag.level | SourceFlag.hcall : 0);
    if (level) {
      f.result64(1, 0xffffffff, 0xffffffff);
      f.result64(2, 0xffffffff, 0xffffffff);
    } else {
      f.result(1, page + ESB_PAGE);
      f.result(2, page);
    }
    f.result(3, XIVE_PAGE_SHIFT);
    return HStatus.H_SUCCESS;
  });
  on(Hcall.H_INT_SET_SOURCE_CONFIG, (f) => {
    const [flags, lisn, server, priority] = [f.arg(0), f.arg(1), f.arg(2), f.arg(3)];
    if (flags > 3) return HStatus.H_PARAMETER;
    if (!xive.has(lisn)) return HStatus.H_P2;
    if (priority !== MASKED) {
      if (!xive.hasServer(server)) return HStatus.H_P3;
      if (priority >= XIVE_PRIORITIES) return HStatus.H_P4;
    }
    xive.setSource(lisn, server, priority, flags & SET_EISN ? f.lo(4) : undefined);
    return HStatus.H_SUCCESS;
  });
  on(Hcall.H_INT_GET_SOURCE_CONFIG, (f) => {
    if (f.arg(0) !== 0) return HStatus.H_PARAMETER;
    if (!xive.has(f.arg(1))) return HStatus.H_P2;
    const s = xive.source(f.arg(1));
    f.result(0, s.server);
    f.result(1, s.priority);
    f.result(2, s.eisn);
    return HStatus.H_SUCCESS;
  });
  on(Hcall.H_INT_GET_QUEUE_INFO, (f) => {
    if (f.arg(0) !== 0) return HStatus.H_PARAMETER;
    const bad = badQueue(f);
    if (bad) return bad;
    // The queue's own notification page is not for guests; its size is that of a queue's.
    f.result(0, 0);
    f.result(1, xive.queue(f.arg(1), f.arg(2)).shift);
    return HStatus.H_SUCCESS;
  });
  on(Hcall.H_INT_SET_QUEUE_CONFIG, (f) => {
    const [flags, address, shift] = [f.arg(0), f.arg(3), f.arg(4)];
    if (flags > 1) return HStatus.H_PARAMETER;
    const bad = badQueue(f);
    if (bad) return bad;
    if (shift !== 0 && !(XIVE_QUEUE_SHIFTS as readonly number[]).includes(shift)) return HStatus.H_P5;
    if (shift !== 0 && !(address % 2 ** shift === 0 && address < 2 ** 52)) return HStatus.H_P4;
    Object.assign(xive.queue(f.arg(1), f.arg(2)), { address: shift ? address : 0, shift, index: 0, generation: 1 });
    return HStatus.H_SUCCESS;
  });
  on(Hcall.H_INT_GET_QUEUE_CONFIG, (f) => {
    if (f.arg(0) > 1) return HStatus.H_PARAMETER;
    const bad = badQueue(f);
    if (bad) return bad;
    const q = xive.queue(f.arg(1), f.arg(2));
    f.result(0, q.shift === 0 ? 0 : 1);
    f.result(1, q.address);
    f.result(2, q.shift);
    f.result(3, q.generation);
    f.result(4, q.index);
    return HStatus.H_SUCCESS;
  });
  on(Hcall.H_INT_SET_OS_REPORTING_LINE, () => HStatus.H_FUNCTION);
  on(Hcall.H_INT_ESB, (f) => {
    const [flags, lisn, offset] = [f.arg(0), f.arg(1), f.arg(2)];
    if (flags > ESB_STORE) return HStatus.H_PARAMETER;
    if (!xive.has(lisn)) return HStatus.H_P2;
    if (offset >= ESB_PAGE) return HStatus.H_P3;
    const value = xive.esb(lisn, offset, flags === ESB_STORE);
    if (flags === ESB_STORE) f.result64(0, 0xffffffff, 0xffffffff);
    else f.result(0, value);
    return HStatus.H_SUCCESS;
  });
  // Every access is complete when it returns.
  on(Hcall.H_INT_SYNC, (f) => (xive.has(f.arg(1)) ? HStatus.H_SUCCESS : HStatus.H_P2));
  on(Hcall.H_INT_RESET, (f) => {
    if (f.arg(0) !== 0) return HStatus.H_PARAMETER;
    xive.reset();
    return HStatus.H_SUCCESS;
  });
}
