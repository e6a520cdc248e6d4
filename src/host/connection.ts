/** Byte streams to other programs: what a network block device talks over. */
import type { SocketAddress } from "./host.js";

export interface HostConnection {
  /**
   * Fills all of `out`. @throws VmError "block/io" when the other side closes first, sends nothing for `timeoutMs`, or the
   * stream is broken
   */
  read(out: Uint8Array, timeoutMs: number): Promise<void>;
  /** Resolves when the host has taken the bytes; they may be changed then. @throws VmError "block/io" */
  write(data: Uint8Array): Promise<void>;
  /** Ends both directions at once; a read under way fails. */
  close(): void;
}

/** Where a server listens. */
export type PeerAddress = Exclude<SocketAddress, { readonly kind: "fd" }>;

export interface HostConnections {
  /** @throws VmError "block/io" with the host's reason */
  connect(address: PeerAddress, timeoutMs: number): Promise<HostConnection>;
}

/** An answer over HTTP, all of it. */
export interface HttpAnswer {
  readonly status: number;
  /** Names in lower case. */
  readonly headers: ReadonlyMap<string, string>;
  readonly body: Uint8Array;
}

export interface HostHttp {
  /**
   * One request, redirections followed (at most 5). The body is cut off with an error when it is longer than `maxBytes`.
   * @throws VmError "block/io"
   */
  request(
    method: "GET" | "HEAD",
    url: string,
    headers: Readonly<Record<string, string>>,
    maxBytes: number,
    timeoutMs: number,
  ): Promise<HttpAnswer>;
}
