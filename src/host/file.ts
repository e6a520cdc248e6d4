/** Files of the host. Asynchronous, because hosts are; offsets and sizes in bytes. */

/** An open file or block device. Errors keep the host's own as their `cause`, whose `code` is "ENOSPC", "EIO", ... */
export interface HostFile {
  readonly path: string;
  /** Size when opened, and after writes past the end. */
  readonly sizeBytes: number;
  readonly readOnly: boolean;
  /** Fills `out` from an offset. @returns bytes read; fewer than asked only at the end of the file. @throws VmError "block/io" */
  read(offsetBytes: number, out: Uint8Array): Promise<number>;
  /** Writes all of `data`. @throws VmError "block/io", "block/read-only" */
  write(offsetBytes: number, data: Uint8Array): Promise<void>;
  /** Resolves once everything written before is on stable storage. @throws VmError "block/io" */
  flush(): Promise<void>;
  /** Gives the range back to the host's file system; it reads as zeroes then. Absent where the host cannot. */
  discard?(offsetBytes: number, sizeBytes: number): Promise<void>;
  /** Makes the file this long; new bytes read as zeroes. Not for block devices. @throws VmError "block/io" */
  resize?(sizeBytes: number): Promise<void>;
  /** What lies at an offset before the end: data, or a hole that reads as zeroes, and how many bytes of it. */
  extent?(offsetBytes: number): Promise<{ readonly data: boolean; readonly sizeBytes: number }>;
  /** Bytes that the file takes on the host's disk. */
  allocatedBytes?(): Promise<number>;
  /** Tells two names of one file: equal for the same file, and only then. */
  readonly identity?: string | undefined;
  /** Lets go of the file and its lock. Further calls fail. */
  close(): Promise<void>;
}

/** How a file is opened. */
export interface HostFileOptions {
  readonly readOnly: boolean;
  /** Takes a lock against other processes: shared when read-only, else exclusive. */
  readonly lock: boolean;
  /** Lets other writers have the file at the same time (`share-rw=on`). */
  readonly share?: boolean | undefined;
  /** Makes the file empty, or makes it exist. Not with `readOnly`. */
  readonly create?: boolean | undefined;
}

/** The host's files. */
export interface HostFiles {
  /**
   * @throws VmError "block/not-found" (no such file, or a folder), "block/read-only" (not writable), "block/locked"
   *   (another process has it), "block/io" (anything else); the message is the host's reason without the path
   */
  open(path: string, options: HostFileOptions): Promise<HostFile>;
}

/** The name under which `Host` has them. */
export type FileHost = HostFiles;
