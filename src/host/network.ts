/**
 * The host's network as user-mode networking uses it: TCP streams, UDP sockets, name service. A browser implements it over
 * an uplink of its own, or not at all. Addresses are textual, IPv4 dotted or IPv6 without brackets.
 */

export interface NetAddress {
  readonly host: string;
  readonly port: number;
  /** A Unix-domain socket instead, where the host has them. */
  readonly path?: string | undefined;
}

/** Receives what happens to a stream, until `closed`. */
export interface TcpStreamEvents {
  /** The outgoing connection is up. */
  connected?(): void;
  /** Bytes; the receiver owns them. */
  data(bytes: Uint8Array): void;
  /** The peer sends nothing more. */
  ended(): void;
  /** Less is waiting in `queuedBytes` than before. */
  drained(): void;
  /** The stream is gone. `reason`: the host's word for the failure, absent when both sides had ended. */
  closed(reason?: "refused" | "unreachable" | "timeout" | "reset" | "failed"): void;
}

/** A TCP connection of the host. */
export interface TcpStream {
  readonly remote: NetAddress;
  /** Set by the owner before the current turn of the event loop ends. */
  events: TcpStreamEvents;
  /** Written and not yet taken by the host's kernel. */
  readonly queuedBytes: number;
  /** Takes the bytes (copied). */
  write(bytes: Uint8Array): void;
  /** Nothing more will be written; what is queued still goes. */
  end(): void;
  /** Stops and starts `data`. */
  setReading(on: boolean): void;
  /** Lets go of it at once, by a reset where there is something unsent or unread. */
  destroy(): void;
}

/** A TCP server of the host. */
export interface TcpListener {
  readonly local: NetAddress;
  close(): void;
}

/** A UDP socket of the host. */
export interface UdpSocket {
  readonly local: NetAddress;
  /** Sends a datagram (copied); failures are silent, as in UDP. */
  send(bytes: Uint8Array, to: NetAddress): void;
  onDatagram: (bytes: Uint8Array, from: NetAddress) => void;
  close(): void;
}

/** An interface of the host whose other end is the guest's cable. */
export interface TapDevice {
  readonly name: string;
  /** Sends a frame; one that the host does not take is lost. */
  write(frame: Uint8Array): void;
  /** Receives frames; the bytes are valid during the call. */
  onFrame: (frame: Uint8Array) => void;
  /** Starts and stops `onFrame`; off at first. */
  setReading(on: boolean): void;
  /** Closes the descriptor. */
  close(): void;
}

export interface HostNetwork {
  /** Starts to connect; the outcome comes through the events. */
  connectTcp(to: NetAddress, events: TcpStreamEvents): TcpStream;
  /** @throws VmError "net/io" */
  listenTcp(at: NetAddress, onConnection: (stream: TcpStream) => void): Promise<TcpListener>;
  /** A connected stream socket that came as a descriptor; closes with the stream. Absent where there are none. */
  adoptTcp?(fd: number): TcpStream;
  /** A tap device by an open descriptor. @throws VmError "net/io" | "host/no-ffi" */
  openTap?(fd: number): Promise<TapDevice>;
  /** Accepts WebSocket connections whose binary messages are the stream. @throws VmError "net/io" */
  listenWebSocket?(at: NetAddress, onConnection: (stream: TcpStream) => void): Promise<TcpListener>;
  /**
   * Opens a socket bound to `at`; port 0 = any. `group`: joins this multicast group, others on this host may too;
   * `local`: address of the interface for multicast.
   * @throws VmError "net/io"
   */
  openUdp(
    at: NetAddress,
    options?: { readonly group?: string | undefined; readonly local?: string | undefined },
  ): Promise<UdpSocket>;
  /** Addresses of the host's name servers, the first to be asked first. */
  nameServers(): readonly NetAddress[];
}
