// Products of 64 bits, a new one every cycle. The result is offered Latency - 1 cycles after the operands came, so that
// the instruction that needs it may follow Latency cycles after the multiplication.
module core_multiplier
  import potluck_isa_pkg::*;
  import core_pkg::*;
#(
  parameter int unsigned Latency = 3
) (
  input  logic        clk_i,
  input  logic        rst_ni,
  input  logic        valid_i,
  input  op_e         op_i,
  input  logic        word_i,
  input  logic [4:0]  register_i,
  input  logic [63:0] a_i,
  input  logic [63:0] b_i,
  output write_t      result_o
);

  logic a_signed, b_signed, upper;
  logic signed [64:0] a, b;
  logic signed [129:0] product;
  logic [63:0] value;

  assign a_signed = op_i == OP_MULH || op_i == OP_MULHSU;
  assign b_signed = op_i == OP_MULH;
  assign upper    = op_i == OP_MULH || op_i == OP_MULHSU || op_i == OP_MULHU;
  assign a        = $signed({a_signed & a_i[63], a_i});
  assign b        = $signed({b_signed & b_i[63], b_i});
  assign product  = a * b;
  assign value    = upper ? product[127:64] : (word_i ? {{32{product[31]}}, product[31:0]} : product[63:0]);

  logic ready;
  pipe_stage #(
    .Width (69),
    .Stages(Latency - 1)
  ) u_registers (
    .clk_i,
    .rst_ni,
    .valid_i,
    .ready_o(ready),
    .data_i ({register_i, value}),
    .valid_o(result_o.valid),
    .ready_i(1'b1),
    .data_o ({result_o.register_number, result_o.value})
  );

  // The upper bits of a product of 65-bit numbers are copies of its sign; nobody holds the row up.
  logic unused;
  assign unused = ^{product[129:128], ready};

endmodule
