/** Versions that Tandem tells: its own, and that of QEMU whose command line and machine it follows. */
export const TANDEM_VERSION = "0.1.0";
export const QEMU_VERSION = "7.2.0";
/** The first line of `-version`; other programs parse it. */
export const VERSION_LINE = `QEMU emulator version ${QEMU_VERSION} (Tandem ${TANDEM_VERSION})`;
