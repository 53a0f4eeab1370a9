// Integer operations of one cycle, and the conditions of branches. Combinational.
module core_alu
  import potluck_isa_pkg::*;
(
  input  op_e         op_i,
  input  logic        word_i,     // the result is 32 bits, extended by its sign
  input  logic [63:0] a_i,        // rs1
  input  logic [63:0] b_i,        // rs2, an immediate or a shift amount
  input  logic [63:0] pc_i,
  output logic [63:0] result_o,
  output logic        taken_o     // of a branch
);

  logic less, less_unsigned, equal;
  assign equal         = a_i == b_i;
  assign less          = $signed(a_i) < $signed(b_i);
  assign less_unsigned = a_i < b_i;

  logic [5:0]  amount;
  logic [63:0] right, result;
  assign amount = word_i ? {1'b0, b_i[4:0]} : b_i[5:0];

  // Operands of shifts to the right: 32-bit ones have what belongs above them.
  always_comb begin
    right = a_i;
    if (word_i) right = {{32{a_i[31] & (op_i == OP_SRAW || op_i == OP_SRAIW)}}, a_i[31:0]};
  end

  always_comb begin
    case (op_i)
      OP_LUI:                                   result = b_i;
      OP_AUIPC:                                 result = pc_i + b_i;
      OP_ADD, OP_ADDI, OP_ADDW, OP_ADDIW:       result = a_i + b_i;
      OP_SUB, OP_SUBW:                          result = a_i - b_i;
      OP_SLL, OP_SLLI, OP_SLLW, OP_SLLIW:       result = a_i << amount;
      OP_SRL, OP_SRLI, OP_SRLW, OP_SRLIW:       result = right >> amount;
      OP_SRA, OP_SRAI, OP_SRAW, OP_SRAIW:       result = $unsigned($signed(right) >>> amount);
      OP_SLT, OP_SLTI:                          result = {63'd0, less};
      OP_SLTU, OP_SLTIU:                        result = {63'd0, less_unsigned};
      OP_XOR, OP_XORI:                          result = a_i ^ b_i;
      OP_OR, OP_ORI:                            result = a_i | b_i;
      OP_AND, OP_ANDI:                          result = a_i & b_i;
      default:                                  result = '0;
    endcase
  end

  assign result_o = word_i ? {{32{result[31]}}, result[31:0]} : result;

  always_comb begin
    case (op_i)
      OP_BEQ:  taken_o = equal;
      OP_BNE:  taken_o = ~equal;
      OP_BLT:  taken_o = less;
      OP_BGE:  taken_o = ~less;
      OP_BLTU: taken_o = less_unsigned;
      OP_BGEU: taken_o = ~less_unsigned;
      default: taken_o = 1'b0;
    endcase
  end

endmodule
