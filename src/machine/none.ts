/**
 * The machine `none`: no processor, no memory, no device. Management programs start it to ask what the emulator can do.
 */
import { AddressSpace } from "../memory/address-space.js";
import { GuestRam } from "../memory/ram.js";
import type { Board, BusNode, CreateBoard } from "./board.js";

const PAGE = 4096;

export const createNone: CreateBoard = async (_config, parts) => {
  const ram = new GuestRam(0, PAGE, false);
  const spaces = [new AddressSpace("memory", 2 ** 40, ram), new AddressSpace("I/O", 0x10000, ram)];
  let running = false;
  const board: Board = {
    accelerator: parts.kvm ? "kvm" : "tcg",
    get running() {
      return running;
    },
    onRequest: () => {},
    start: () => {
      running = true;
    },
    stop: async () => {
      running = false;
    },
    reset: () => {},
    powerdown: () => {},
    wakeup: () => {},
    nmi: () => {},
    sendKeys: () => {},
    drives: () => [],
    devices: () => [],
    dispose: async () => {},
    cpus: () => [],
    registers: () => "",
    register: () => undefined,
    readVirtual: () => false,
    report: () => "",
    addressSpaces: () => spaces,
    pciFunctions: () => [],
    deviceTree: (): BusNode => ({ name: "main-system-bus", type: "System", devices: [] }),
    display: () => undefined,
  };
  return board;
};
