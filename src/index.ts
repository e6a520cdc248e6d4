export { VmError, type VmErrorCode } from "./base/errors.js";
