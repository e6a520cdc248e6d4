/** All opcode tables. */
import "./alu.js";
import "./bits.js";
import "./control.js";
import "./move.js";
import "./system.js";
import "./sse-fp.js";
import "./sse-int.js";
import "./sse-move.js";
import "./x87.js";
