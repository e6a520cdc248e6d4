/** Streams of bytes in one direction: where a machine's state goes to and comes from. */

export interface ByteSink {
  /** Resolves when the bytes have been taken. @throws VmError "migration/io" */
  write(data: Uint8Array): Promise<void>;
  /** Resolves when everything has arrived. @throws VmError "migration/io" when the other side failed */
  close(): Promise<void>;
  /** Gives up; the other side sees an end in the middle. */
  abort(): void;
}

export interface ByteSource {
  /** The next bytes, or undefined at the end. @throws VmError "migration/io" */
  read(): Promise<Uint8Array | undefined>;
  close(): Promise<void>;
}

/** Opens `exec:COMMAND`, `file:PATH[,offset=N]`, `fd:N`, `unix:PATH`, `tcp:HOST:PORT`. */
export interface StreamHost {
  /** @throws VmError "migration/io" */
  openSink(uri: string): Promise<ByteSink>;
  /** A listening address resolves when somebody has connected. @throws VmError "migration/io" | "aborted" */
  openSource(uri: string, signal?: AbortSignal): Promise<ByteSource>;
  /** Raw deflate (RFC 1951), off the machine's thread. */
  deflate(data: Uint8Array): Promise<Uint8Array>;
  /** @throws when it is no deflate stream, or has more than `limitBytes` */
  inflate(data: Uint8Array, limitBytes: number): Promise<Uint8Array>;
}
