/** The option table: parser, `-help` and the coverage page derive from it. */
import { BLOCK, BOOT } from "./boot-and-block.js";
import { CHARACTERS } from "./characters.js";
import { DEBUG } from "./debug.js";
import { DEVICES } from "./devices.js";
import type { OptionGroup, OptionSpec } from "./draft.js";
import { LAUNCH } from "./launch.js";
import { NETWORK } from "./network.js";
import { STANDARD } from "./standard.js";
import { VNC } from "./vnc.js";

export const OPTION_GROUPS: readonly OptionGroup[] = [STANDARD, BLOCK, DEVICES, VNC, NETWORK, CHARACTERS, BOOT, LAUNCH, DEBUG];

const byName = new Map<string, OptionSpec>(
  OPTION_GROUPS.flatMap((g) => g.options.flatMap((o) => o.names.map((n) => [n, o] as const))),
);

export function findOption(name: string): OptionSpec | undefined {
  return byName.get(name);
}

/** Options of QEMU 7.2 that are refused by name rather than called unknown. */
export const UNSUPPORTED_OPTIONS: ReadonlySet<string> = new Set(
  (
    "acpitable action alt-grab async-teardown audio audio-help balloon bt chroot compat cpu-pm " +
    "ctrl-grab curses debugcon dfilter dtb dump-vmstate enable-fips enable-sync-profile fsdev full-screen fw_cfg gdb " +
    "g hax iscsi jitdump k mem-path mem-prealloc mtdblock no-kvm no-quit numa nouserconfig old-param " +
    "only-migratable option-rom perfmap pflash plugin portrait preconfig prom-env readconfig " +
    "rotate runas s sandbox sd sdl seed semihosting semihosting-config set shim singlestep smbios spice tb-size tdf tpmdev trace " +
    "virtfs virtioserial watchdog win2k-hack writeconfig xen-attach xen-domid " +
    "xen-domid-restrict"
  ).split(" "),
);
