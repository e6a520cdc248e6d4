/** All opcode tables. */
import "./alu.js";
import "./bits.js";
import "./control.js";
import "./move.js";
import "./system.js";
