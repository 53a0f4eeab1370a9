// What a division or root of one element starts from: magnitudes of integers, normalized significands of floats, and
// what is known without a digit. Combinational.
module vector_divide_element
  import potluck_vector_pkg::*;
  import vector_pkg::*;
  import vector_divide_pkg::*;
(
  input  vector_request_t request_i,
  input  logic [2:0]      index_i,
  output start_t          start_o
);

  logic [1:0] width;
  logic [63:0] a, b, a_integer, b_integer;
  assign width = width_of(request_i.sew, request_i.op.d_scale);
  assign a     = element(request_i.op.swap ? request_i.b : request_i.a, width, 32'(index_i));
  assign b     = element(request_i.op.swap ? request_i.a : request_i.b, width, 32'(index_i));

  function automatic logic [63:0] widened(input logic [63:0] code, input logic [1:0] of, input logic is_signed);
    case (of)
      2'd0: return {{56{is_signed & code[7]}}, code[7:0]};
      2'd1: return {{48{is_signed & code[15]}}, code[15:0]};
      2'd2: return {{32{is_signed & code[31]}}, code[31:0]};
      default: return code;
    endcase
  endfunction
  assign a_integer = widened(a, width, request_i.op.a_signed);
  assign b_integer = widened(b, width, request_i.op.b_signed);

  typedef struct packed {
    logic               sign;
    logic signed [11:0] exponent;
    logic [52:0]        significand;
    logic               zero;
    logic               infinite;
    logic               nan;
    logic               signalling;
  } number_t;

  float_e fmt;
  number_t [1:0] number;
  logic [1:0][52:0] normalized;
  logic [1:0][13:0] exponent;
  assign fmt = float_of(width, request_i.op.bf16, request_i.e5m2);

  for (genvar i = 0; i < 2; i++) begin : gen_operand
    logic [5:0] zeros;
    logic unused_empty;
    vector_unpack #(
      .Width(64)
    ) u_unpack (
      .code_i((i == 0) ? a : b),
      .fmt_i(fmt),
      .sign_o(number[i].sign),
      .exponent_o(number[i].exponent),
      .significand_o(number[i].significand),
      .zero_o(number[i].zero),
      .infinite_o(number[i].infinite),
      .nan_o(number[i].nan),
      .signalling_o(number[i].signalling)
    );
    lzc #(
      .Width(53)
    ) u_lzc (
      .in_i(number[i].significand),
      .count_o(zeros),
      .empty_o(unused_empty)
    );
    assign normalized[i] = number[i].significand << zeros;
    assign exponent[i]   = 14'(number[i].exponent) - {8'b0, zeros};
  end

  logic root, is_float, a_negative, b_negative;
  assign root       = request_i.op.code == VOP_FSQRT;
  assign is_float   = request_i.op.unit == VU_FLOAT_DIVIDE;
  assign a_negative = request_i.op.a_signed & a_integer[63];
  assign b_negative = request_i.op.b_signed & b_integer[63];

  always_comb begin
    start_o           = '0;
    start_o.fmt       = fmt;
    start_o.root      = root;
    start_o.is_float  = is_float;
    start_o.remainder = request_i.op.code == VOP_REMAINDER;
    if (!is_float) begin
      start_o.bits     = 7'd64;
      start_o.stream   = a_negative ? -a_integer : a_integer;
      start_o.divisor  = b_negative ? -b_integer : b_integer;
      start_o.negative = start_o.remainder ? a_negative : (a_negative ^ b_negative) & (b_integer != '0);
    end else if (root) begin
      // The radicand in [1, 4), so that its exponent is even; two bits of it at a time.
      start_o.bits     = 7'd56;
      start_o.stream   = exponent[0][0] ? {normalized[0], 11'b0} : {1'b0, normalized[0], 10'b0};
      start_o.exponent = $signed(exponent[0]) >>> 1;
      start_o.nan      = number[0].nan | (number[0].sign & ~number[0].zero);
      start_o.invalid  = start_o.nan & (~number[0].nan | number[0].signalling);
      start_o.infinite = number[0].infinite;
      start_o.zero     = number[0].zero;
      start_o.negative = number[0].sign;
    end else begin
      // The first digit compares the significands: all of the dividend but its last bit is there already.
      start_o.bits      = 7'd64;
      start_o.partial   = {1'b0, normalized[0][52:1]};
      start_o.stream    = {normalized[0][0], 63'b0};
      start_o.divisor   = {11'b0, normalized[1]};
      start_o.exponent  = $signed(exponent[0]) - $signed(exponent[1]);
      start_o.nan       = number[0].nan | number[1].nan | (number[0].infinite & number[1].infinite)
                          | (number[0].zero & number[1].zero);
      start_o.invalid   = number[0].signalling | number[1].signalling
                          | (start_o.nan & ~number[0].nan & ~number[1].nan);
      start_o.infinite  = number[0].infinite | number[1].zero;
      start_o.zero      = number[0].zero | number[1].infinite;
      start_o.by_zero   = number[1].zero & ~number[0].infinite & ~start_o.nan;
      start_o.negative  = number[0].sign ^ number[1].sign;
    end
  end

  // What only other units look at.
  logic unused;
  assign unused = ^request_i;

endmodule
