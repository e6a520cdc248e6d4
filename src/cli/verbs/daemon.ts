/**
 * `-daemonize` and `-pidfile`. A process of Node cannot fork: the daemon is a second process with the same arguments, in a
 * session of its own, without a terminal; the first one stays until the machine is there (sockets listen, the pid file is
 * written) and ends with status 0, or passes on what the second had to say.
 */
import { spawn } from "node:child_process";
import {
  closeSync,
  fstatSync,
  openSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  realpathSync,
  rmSync,
  writeSync,
} from "node:fs";
import { resolve } from "node:path";
import { VmError } from "../../base/errors.js";
import { reasonOf } from "../../host/node/files.js";
import type { MachineConfig } from "../../machine/config.js";

/** Tells the daemon which descriptor says that it is ready. */
const READY = "TANDEM_DAEMON_READY_FD";
const FIRST_FREE_FD = 3;

/** Descriptors that the command line speaks of; a daemon gets them under the same numbers. */
function inheritedFds(config: MachineConfig): number[] {
  const fds = config.fdSets.map((s) => s.fd);
  for (const c of config.chardevs) if (c.backend === "socket" && c.address.kind === "fd") fds.push(c.address.fd);
  const incoming = /^fd:(\d+)$/.exec(config.incoming ?? "");
  if (incoming) fds.push(Number(incoming[1]));
  return fds;
}

/** Whether this process is the daemon that `becomeDaemon` started. */
export function isDaemon(): boolean {
  return process.env[READY] !== undefined;
}

/** Starts the daemon. @returns this process's exit status, once the daemon is ready or has failed */
export function becomeDaemon(config: MachineConfig): Promise<number> {
  const fds = inheritedFds(config);
  let readyFd = FIRST_FREE_FD;
  while (fds.includes(readyFd)) readyFd++;
  const stdio: ("ignore" | "pipe" | number)[] = ["ignore", "ignore", "pipe"];
  for (let fd = FIRST_FREE_FD; fd <= Math.max(readyFd, ...fds); fd++)
    stdio.push(fd === readyFd ? "pipe" : fds.includes(fd) ? fd : "ignore");
  const child = spawn(process.execPath, [...process.execArgv, ...process.argv.slice(1)], {
    detached: true,
    stdio,
    env: { ...process.env, [READY]: String(readyFd) },
  });
  child.stderr!.on("data", (text) => process.stderr.write(text));
  return new Promise((done) => {
    child.stdio[readyFd]!.once("data", () => done(0));
    child.once("error", (e) => {
      process.stderr.write(`-daemonize: ${reasonOf(e)}\n`);
      done(1);
    });
    child.once("close", (status) => done(status === 0 ? 0 : (status ?? 1)));
  });
}

/** The daemon tells the process that started it that all is well; from here on nobody hears it. */
export function daemonReady(): void {
  const fd = Number(process.env[READY]);
  delete process.env[READY];
  process.stderr.on("error", () => {});
  process.stdout.on("error", () => {});
  process.chdir("/");
  writeSync(fd, "ready\n");
  closeSync(fd);
}

/** Whether a live process has this file open: the one that wrote its pid there. */
function holds(pid: number, path: string): boolean {
  try {
    const real = realpathSync(path);
    return readdirSync(`/proc/${pid}/fd`).some((fd) => {
      try {
        return readlinkSync(`/proc/${pid}/fd/${fd}`) === real;
      } catch {
        return false;
      }
    });
  } catch {
    return false;
  }
}

/** Writes the process's number; the file goes with the process. @throws VmError "option/invalid" */
export function writePidFile(path: string): () => void {
  const fail = (what: string): never => {
    throw new VmError("option/invalid", `-pidfile ${path}: cannot create PID file: ${what}`);
  };
  let fd: number;
  try {
    const old = Number.parseInt(readFileSync(path, "utf8"), 10);
    if (old > 0 && old !== process.pid && holds(old, path)) fail(`process ${old} has it`);
  } catch (e) {
    if (e instanceof VmError) throw e;
    // Not there, or not readable: writing will tell.
  }
  try {
    fd = openSync(path, "w", 0o600);
    if (!fstatSync(fd).isFile()) fail("not a regular file");
    writeSync(fd, `${process.pid}\n`);
  } catch (e) {
    if (e instanceof VmError) throw e;
    return fail(reasonOf(e));
  }
  // A daemon changes its folder.
  const absolute = resolve(path);
  // Open until the end: that is how the next one sees that this one lives.
  return () => {
    closeSync(fd);
    rmSync(absolute, { force: true });
  };
}
