/** The face of a disk image to a device: read, write, flush. Asynchronous, because hosts are. */
export interface BlockBackend {
  readonly sizeBytes: number;
  readonly readOnly: boolean;
  /** What the user called it, for messages: "file=disk.img". */
  readonly name: string;
  /** @throws VmError "block/io" */
  read(offsetBytes: number, out: Uint8Array): Promise<void>;
  /** @throws VmError "block/io" (its `cause` has the host's errno), "block/read-only" */
  write(offsetBytes: number, data: Uint8Array): Promise<void>;
  /** Resolves once everything written before is on stable storage. */
  flush(): Promise<void>;
  /** Zeroes or discards where the format can; default is to write zeroes. */
  discard?(offsetBytes: number, sizeBytes: number): Promise<void>;
  /** Makes the bytes read as zeroes, where the format can do that without writing them; devices write zeroes otherwise. */
  writeZeroes?(offsetBytes: number, sizeBytes: number): Promise<void>;
  close(): Promise<void>;
}

/** What to do when the host fails: `werror=` and `rerror=`. */
export type ErrorPolicy = "report" | "ignore" | "stop" | "enospc";

/** A drive as a device sees it: a backend that may be absent (no medium), and its error policy. */
export interface Drive {
  readonly id: string;
  backend: BlockBackend | undefined;
  readonly media: "disk" | "cdrom" | "floppy";
  readonly werror: ErrorPolicy;
  readonly rerror: ErrorPolicy;
  readonly serial?: string | undefined;
  /** Asks the machine to pause because of an I/O error (`stop`, `enospc`); the request is tried again on `cont`. */
  onIoError: (error: unknown, isWrite: boolean) => void;
  /** Fires when the medium is changed or ejected. */
  onMediaChange: () => void;
  /** Promises that are under way, so that a snapshot or a stop can wait for them. */
  inFlight: number;
  /** Resolves when no request is under way, also none that the device started when an earlier one ended. */
  settled?(): Promise<void>;
  /** The first sector as it was when the image was opened, for a guess at the disk's geometry. */
  readonly bootSector?: Uint8Array | undefined;
  /** Issues again what a `stop` policy held back; set by the device, called on `cont`. */
  onRetry?: () => void;
  /** The tray of a removable drive. The device sets both, the monitor looks at them. */
  trayOpen?: boolean;
  trayLocked?: boolean;
  /** The user asks for the medium of a locked tray; set by the device, which tells the guest. */
  onEjectRequest?: () => void;
}
