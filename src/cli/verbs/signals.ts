/** Signals that end the emulator in an orderly way: disks are flushed, the terminal is put back. */
import { constants } from "node:os";

const SIGNALS = ["SIGINT", "SIGTERM", "SIGHUP"] as const;

/** Calls `onSignal` for the first; a second one ends the process at once. @returns stops listening */
export function onTermination(onSignal: (name: string, number: number) => void): () => void {
  let first = true;
  const listeners = SIGNALS.map((name) => {
    const number = constants.signals[name];
    const listener = () => {
      if (!first) process.exit(128 + number);
      first = false;
      onSignal(name, number);
    };
    process.on(name, listener);
    return { name, listener };
  });
  return () => {
    for (const { name, listener } of listeners) process.off(name, listener);
  };
}
