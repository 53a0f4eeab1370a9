// What an atomic access leaves in memory: a word of eight bytes, of which the operation concerns four or all. It stands
// at the memory, so that nothing comes between its load and its store. Combinational.
module amo_alu
  import potluck_isa_pkg::*;
(
  input  op_e         op_i,
  input  logic        word_i,     // four bytes, in the upper half if upper_i
  input  logic        upper_i,
  input  logic [63:0] old_i,
  input  logic [63:0] operand_i,  // in its lanes
  output logic [63:0] new_o
);

  // The operands as numbers of 64 bits: a word of four bytes lies in the upper half, so that its sign is the top bit.
  logic [63:0] a, b, result;
  logic less, less_unsigned;
  always_comb begin
    a = old_i;
    b = operand_i;
    if (word_i) begin
      a = {upper_i ? old_i[63:32] : old_i[31:0], 32'd0};
      b = {upper_i ? operand_i[63:32] : operand_i[31:0], 32'd0};
    end
  end
  assign less          = $signed(a) < $signed(b);
  assign less_unsigned = a < b;

  always_comb begin
    case (op_i)
      OP_AMOADD_W, OP_AMOADD_D:   result = a + b;
      OP_AMOXOR_W, OP_AMOXOR_D:   result = a ^ b;
      OP_AMOAND_W, OP_AMOAND_D:   result = a & b;
      OP_AMOOR_W, OP_AMOOR_D:     result = a | b;
      OP_AMOMIN_W, OP_AMOMIN_D:   result = less ? a : b;
      OP_AMOMAX_W, OP_AMOMAX_D:   result = less ? b : a;
      OP_AMOMINU_W, OP_AMOMINU_D: result = less_unsigned ? a : b;
      OP_AMOMAXU_W, OP_AMOMAXU_D: result = less_unsigned ? b : a;
      OP_LR_W, OP_LR_D:           result = a;
      default:                    result = b;  // swaps and conditional stores that succeed
    endcase
  end

  always_comb begin
    new_o = result;
    if (word_i) new_o = upper_i ? {result[63:32], old_i[31:0]} : {old_i[63:32], result[63:32]};
  end

endmodule
