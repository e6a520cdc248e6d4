/** All instruction rows. */
import "./fixed.js";
import "./rotate.js";
import "./branch.js";
import "./memory.js";
import "./system.js";
import "./float.js";
import "./vsx.js";
import "./altivec.js";
