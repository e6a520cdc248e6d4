/** Node's event loop. */
import type { HostScheduler } from "../scheduler.js";

/** The longest a Node timer takes. */
const MAX_DELAY_MS = 2 ** 31 - 1;

export const nodeScheduler: HostScheduler = {
  soon: (task) => void setImmediate(task),
  after: (delayMs, task) => {
    // Timers count whole milliseconds, the smallest being one; less is as soon as I/O has had its turn.
    if (delayMs < 0.5) {
      const handle = setImmediate(task);
      return () => clearImmediate(handle);
    }
    const handle = setTimeout(task, Math.min(Math.round(delayMs), MAX_DELAY_MS));
    return () => clearTimeout(handle);
  },
};
