// Boots a Linux guest in v86 (npm package "v86") without a screen; its serial console goes to standard output.
//   node v86-runner.mjs PACKAGE-FOLDER KERNEL INITRD MIB COMMAND-LINE
import { readFileSync } from "node:fs";
import path from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";

const [folder, kernel, initrd, mib, cmdline] = process.argv.slice(2);
const { V86 } = await import(pathToFileURL(path.join(folder, "build/libv86.mjs")).href);
const firmware = fileURLToPath(new URL("../firmware/", import.meta.url));
const file = (name) => {
  const bytes = readFileSync(name);
  return { buffer: bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length) };
};
const vm = new V86({
  wasm_path: path.join(folder, "build/v86.wasm"),
  memory_size: Number(mib) * 2 ** 20,
  vga_memory_size: 8 * 2 ** 20,
  autostart: true,
  bios: file(path.join(firmware, "bios.bin")),
  vga_bios: file(path.join(firmware, "vgabios-stdvga.bin")),
  bzimage: file(kernel),
  initrd: file(initrd),
  cmdline,
});
let line = "";
vm.add_listener("serial0-output-byte", (byte) => {
  line += String.fromCharCode(byte);
  if (byte !== 10) return;
  process.stdout.write(line);
  // v86 has no power-off.
  if (/^MARK (end|coremark)/.test(line)) process.exit(0);
  line = "";
});
