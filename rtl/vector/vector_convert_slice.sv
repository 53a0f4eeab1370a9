// Conversion of one element between any two formats of at most Width bits, integers among them; `d` is the result's
// side, `a` the operand's. Latency registers: the first for the operand, then one behind normalization, the rest before
// it.
module vector_convert_slice
  import fp_pkg::*;
  import potluck_vector_pkg::*;
  import vector_pkg::*;
#(
  parameter int unsigned Width    = 64,  // 16, 32 or 64
  parameter int unsigned Latency  = 3,
  parameter int unsigned TagWidth = 1,
  localparam int unsigned Precision = (Width == 64) ? 53 : (Width == 32) ? 24 : 11
) (
  input  logic                clk_i,
  input  logic                rst_ni,
  input  logic                valid_i,
  output logic                ready_o,
  input  vector_op_t          op_i,
  input  logic [Width-1:0]    a_i,  // above the operand's bits stands anything
  input  logic [1:0]          a_width_i,
  input  logic [1:0]          d_width_i,
  input  float_e              a_fmt_i,
  input  float_e              d_fmt_i,
  input  rm_e                 rm_i,
  input  logic [TagWidth-1:0] tag_i,
  output logic                valid_o,
  input  logic                ready_i,
  output logic [63:0]         result_o,
  output fflags_t             flags_o,
  output logic [TagWidth-1:0] tag_o
);

  localparam int unsigned NormalStages = (Latency > 1) ? 1 : 0;
  localparam int unsigned InputStages = Latency - NormalStages;

  typedef struct packed {
    vector_op_t          op;
    logic [Width-1:0]    a;
    logic [1:0]          a_width;
    logic [1:0]          d_width;
    float_e              a_fmt;
    float_e              d_fmt;
    rm_e                 rm;
    logic [TagWidth-1:0] tag;
  } operand_t;

  operand_t in;
  logic in_valid, in_ready;
  pipe_stage #(
    .Width($bits(operand_t)),
    .Stages(InputStages)
  ) u_input_stage (
    .clk_i,
    .rst_ni,
    .valid_i,
    .ready_o,
    .data_i({op_i, a_i, a_width_i, d_width_i, a_fmt_i, d_fmt_i, rm_i, tag_i}),
    .valid_o(in_valid),
    .ready_i(in_ready),
    .data_o(in)
  );

  // A float's significand, or an integer's magnitude, as a number of Width bits ----------------------------------------
  logic float_sign, zero, infinite, nan, signalling;
  logic signed [11:0] float_exponent;
  logic [Precision-1:0] float_significand;
  vector_unpack #(
    .Width(Width)
  ) u_unpack (
    .code_i(in.a),
    .fmt_i(in.a_fmt),
    .sign_o(float_sign),
    .exponent_o(float_exponent),
    .significand_o(float_significand),
    .zero_o(zero),
    .infinite_o(infinite),
    .nan_o(nan),
    .signalling_o(signalling)
  );

  logic [63:0] code, integer_value;
  logic integer_sign, from_integer;
  always_comb begin
    code            = '0;
    code[Width-1:0] = in.a;
    case (in.a_width)
      2'd0: integer_value = {{56{in.op.a_signed & code[7]}}, code[7:0]};
      2'd1: integer_value = {{48{in.op.a_signed & code[15]}}, code[15:0]};
      2'd2: integer_value = {{32{in.op.a_signed & code[31]}}, code[31:0]};
      default: integer_value = code;
    endcase
  end
  assign from_integer = in.op.code == VOP_FROM_INTEGER;
  assign integer_sign = in.op.a_signed & integer_value[63];

  typedef struct packed {
    vector_op_t          op;
    logic [1:0]          d_width;
    float_e              d_fmt;
    rm_e                 rm;
    logic                infinite;
    logic                nan;
    logic                signalling;
    logic                sign;
    logic signed [13:0]  exponent;   // of the highest bit
    logic [Width-1:0]    magnitude;  // normalized
    logic [TagWidth-1:0] tag;
  } normal_t;

  logic [Width-1:0] magnitude;
  logic [63:0] integer_size;
  localparam int unsigned CountWidth = $clog2(Width);
  logic [CountWidth-1:0] zeros;
  logic empty;
  normal_t normal_d, normal_q;

  assign integer_size = integer_sign ? -integer_value : integer_value;
  always_comb begin
    magnitude = {float_significand, {(Width - Precision) {1'b0}}};
    if (from_integer) magnitude = integer_size[Width-1:0];
  end

  lzc #(
    .Width(Width)
  ) u_lzc (
    .in_i(magnitude),
    .count_o(zeros),
    .empty_o(empty)
  );

  always_comb begin
    normal_d.op         = in.op;
    normal_d.d_width    = in.d_width;
    normal_d.d_fmt      = in.d_fmt;
    normal_d.rm         = in.op.toward_zero ? RTZ : in.rm;
    normal_d.infinite   = ~from_integer & infinite;
    normal_d.nan        = ~from_integer & nan;
    normal_d.signalling = ~from_integer & signalling;
    normal_d.sign       = from_integer ? integer_sign : float_sign;
    normal_d.exponent   = (from_integer ? 14'(Width - 1) : 14'(float_exponent))
                          - $signed({{(14 - CountWidth) {1'b0}}, zeros});
    normal_d.magnitude  = magnitude << zeros;
    normal_d.tag        = in.tag;
  end

  pipe_stage #(
    .Width($bits(normal_t)),
    .Stages(NormalStages)
  ) u_normal_stage (
    .clk_i,
    .rst_ni,
    .valid_i(in_valid),
    .ready_o(in_ready),
    .data_i(normal_d),
    .valid_o,
    .ready_i,
    .data_o(normal_q)
  );

  // To a float -------------------------------------------------------------------------------------------------------
  logic [Width-1:0] rounded;
  fflags_t rounded_flags;
  vector_round #(
    .Width(Width),
    .EnableFp8(1'b1)
  ) u_round (
    .sign_i(normal_q.sign),
    .exponent_i(normal_q.exponent),
    .significand_i({normal_q.magnitude[Width-1-:Precision+1], |normal_q.magnitude[Width-Precision-2:0]}),
    .fmt_i(normal_q.d_fmt),
    .rm_i(normal_q.rm),
    .to_odd_i(normal_q.op.to_odd),
    .saturate_i(normal_q.op.saturate),
    .result_o(rounded),
    .flags_o(rounded_flags)
  );

  // To an integer: what is below the point decides on one more; too much goes to the nearest bound, NaN to the largest.
  localparam int unsigned PlacesWidth = $clog2(Width + 2);
  logic signed [13:0] places;
  logic [PlacesWidth-1:0] amount;
  logic [2*Width:0] moved;
  logic [Width:0] whole;
  logic half, rest, up, too_large, beyond;
  logic [63:0] number, most, bound;

  assign places = 14'(Width - 1) - normal_q.exponent;
  assign too_large  = places < 14'sd0;
  assign amount = (places > 14'(Width + 1)) ? PlacesWidth'(Width + 1) : places[PlacesWidth-1:0];
  assign moved  = {normal_q.magnitude, {(Width + 1) {1'b0}}} >> amount;
  assign half   = moved[Width];
  assign rest   = |moved[Width-1:0];
  always_comb begin
    case (normal_q.rm)
      RNE:     up = half & (rest | moved[Width+1]);
      RDN:     up = normal_q.sign & (half | rest);
      RUP:     up = ~normal_q.sign & (half | rest);
      RMM:     up = half;
      default: up = 1'b0;
    endcase
  end
  assign whole = {1'b0, moved[2*Width:Width+1]} + (Width + 1)'(up);

  always_comb begin
    number            = '0;
    number[Width-1:0] = whole[Width-1:0];
    // Largest magnitude of the result's sign.
    case (normal_q.d_width)
      2'd0: most = 64'hFF;
      2'd1: most = 64'hFFFF;
      2'd2: most = 64'hFFFF_FFFF;
      default: most = '1;
    endcase
    bound = most;
    if (normal_q.op.d_signed) bound = (most >> 1) + {63'b0, normal_q.sign & ~normal_q.nan};
    else if (normal_q.sign && !normal_q.nan) bound = '0;
    beyond = normal_q.nan | normal_q.infinite | too_large | whole[Width] | (number > bound);
    if (beyond) number = bound;
    if (normal_q.sign && !normal_q.nan) number = -number;
  end

  always_comb begin
    result_o            = '0;
    result_o[Width-1:0] = rounded;
    flags_o             = rounded_flags;
    if (normal_q.op.code == VOP_TO_INTEGER) begin
      result_o   = number & most;
      flags_o    = '0;
      flags_o.nv = beyond;
      flags_o.nx = ~beyond & (half | rest);
    end else if (normal_q.nan || normal_q.infinite) begin
      result_o   = special_code(normal_q.d_fmt, normal_q.nan, normal_q.sign);
      flags_o    = '0;
      flags_o.nv = normal_q.signalling;
      // The largest number of an FP8 format.
      if (!normal_q.nan && normal_q.op.saturate) begin
        result_o = {56'b0, normal_q.sign, (normal_q.d_fmt == VF_E5M2) ? 7'h7B : 7'h7E};
      end
    end
  end

  assign tag_o = normal_q.tag;

  logic unused;
  assign unused = ^{in.op, normal_q.op, zero, empty, integer_size};

endmodule
