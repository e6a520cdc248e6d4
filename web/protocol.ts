/** What the page and its Worker say to each other. Byte arrays are transferred, not copied, where they are large. */

/** What the page lets the user choose. */
export interface PageMachine {
  readonly memoryMiB: number;
  /** Kernel command line; with a kernel only. */
  readonly append: string;
  /** Absent: the embedded guest. */
  readonly kernel?: Blob | undefined;
  readonly initrd?: Blob | undefined;
  /** Boot from these instead of a kernel, through the BIOS. */
  readonly disk?: Blob | undefined;
  readonly cdrom?: Blob | undefined;
}

export type ToWorker =
  | { readonly kind: "start"; readonly machine: PageMachine }
  | { readonly kind: "serial"; readonly data: Uint8Array }
  /** Keys of one chord, by QEMU's names. */
  | { readonly kind: "keys"; readonly names: readonly string[] }
  /** Whether the page shows the screen: no pictures are sent otherwise. */
  | { readonly kind: "watch"; readonly screen: boolean }
  | { readonly kind: "command"; readonly command: "pause" | "resume" | "reset" | "powerdown" | "quit" };

export type FromWorker =
  | { readonly kind: "serial"; readonly data: Uint8Array }
  /** `pixels` are bytes R, G, B, A. */
  | { readonly kind: "surface"; readonly width: number; readonly height: number; readonly pixels: Uint8ClampedArray<ArrayBuffer> }
  | { readonly kind: "status"; readonly status: PageStatus; readonly detail?: string | undefined };

export type PageStatus = "loading" | "running" | "paused" | "stopped" | "error";
