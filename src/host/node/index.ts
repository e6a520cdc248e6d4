/** Node as a host. */
import { randomFillSync } from "node:crypto";
import { accessSync, closeSync, constants } from "node:fs";
import { readFile } from "node:fs/promises";
import { VmError } from "../../base/errors.js";
import type { ChardevSpec, Host } from "../host.js";
import { readBuiltIn } from "./built-in.js";
import { nodeClock } from "./clock.js";
import { nodeCodecs } from "./codecs.js";
import { nodeConnections, nodeHttp } from "./connections.js";
import { nodeDeflater } from "./deflate.js";
import { FileChardev, PipeChardev } from "./file-chardev.js";
import { nodeFiles } from "./files.js";
import { nodeNetwork } from "./network.js";
import { PtyChardev } from "./pty-chardev.js";
import { nodeScheduler } from "./scheduler.js";
import { SocketChardev } from "./socket-chardev.js";
import { StdioChardev } from "./stdio.js";
import { nodeStreams } from "./streams.js";
import { nodeSyscalls } from "./syscalls.js";
import { setV8Flags } from "./v8-flags.js";

/** This process's host. `program` leads the lines of `note`, `prefix` stands before it. */
export function nodeHost(program = "tandem", prefix: () => string = () => ""): Host {
  setV8Flags();
  return {
    clock: nodeClock,
    scheduler: nodeScheduler,
    files: nodeFiles,
    codecs: nodeCodecs,
    connections: nodeConnections,
    http: nodeHttp,
    network: nodeNetwork(),
    createDeflater: nodeDeflater,
    streams: nodeStreams,
    arch: process.arch,
    linux:
      process.platform === "linux"
        ? {
            syscalls: nodeSyscalls,
            readText: (path) => readFile(path, "utf8").catch(() => undefined),
            accessible,
          }
        : undefined,
    readBuiltIn,
    randomBytes: (out) => void randomFillSync(out),
    note: (line) => void process.stderr.write(`${prefix()}${program}: ${line}\n`),
    processId: process.pid,
    closeFd: (fd) => closeSync(fd),
    localOffsetMinutes: (wallMs) => -new Date(wallMs).getTimezoneOffset(),
    openChardev: async (spec: ChardevSpec, signal) => {
      switch (spec.backend) {
        case "stdio":
          return new StdioChardev(spec.id, spec.signal);
        case "file":
          return FileChardev.open(spec.id, spec.path, spec.append, spec.inputPath);
        case "pipe":
          return PipeChardev.open(spec.id, spec.path);
        case "pty":
          return PtyChardev.open(spec.id);
        case "socket":
          return SocketChardev.open(spec, signal);
        default:
          throw new VmError("chardev/unknown", "this host has no such character backend");
      }
    },
  };
}

function accessible(path: string): boolean {
  try {
    accessSync(path, constants.R_OK | constants.W_OK);
    return true;
  } catch {
    return false;
  }
}
