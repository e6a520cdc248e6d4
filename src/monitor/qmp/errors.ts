/** Errors of the protocol: QEMU's classes. Everything else that a command throws is a GenericError. */

export type QmpErrorClass = "GenericError" | "CommandNotFound" | "DeviceNotActive" | "DeviceNotFound" | "KVMMissingCap";

export class QmpError extends Error {
  override readonly name = "QmpError";
  constructor(
    readonly errorClass: QmpErrorClass,
    message: string,
  ) {
    super(message);
  }
}

export function generic(message: string): QmpError {
  return new QmpError("GenericError", message);
}

export function deviceNotFound(id: string): QmpError {
  return new QmpError("DeviceNotFound", `Device '${id}' not found`);
}
