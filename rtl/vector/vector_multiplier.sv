// Integer products on the elements of a word, with what is added to them: low and high halves, of twice the width,
// accumulated, fractional with rounding and saturation, and sums of four products of bytes.
module vector_multiplier
  import potluck_vector_pkg::*;
  import vector_pkg::*;
#(
  parameter int unsigned Latency  = 2,
  parameter int unsigned TagWidth = 1
) (
  input  logic                clk_i,
  input  logic                rst_ni,
  input  logic                valid_i,
  output logic                ready_o,
  input  vector_request_t     request_i,
  input  logic [TagWidth-1:0] tag_i,
  output logic                valid_o,
  input  logic                ready_i,
  output vector_result_t      result_o,
  output logic [TagWidth-1:0] tag_o
);

  localparam int unsigned InputStages = (Latency + 1) / 2;
  localparam int unsigned MiddleStages = Latency / 2;

  vector_request_t given;
  logic [TagWidth-1:0] tag;
  logic given_valid, given_ready;
  pipe_stage #(
    .Width($bits(vector_request_t) + TagWidth),
    .Stages(InputStages)
  ) u_input_stage (
    .clk_i,
    .rst_ni,
    .valid_i,
    .ready_o,
    .data_i({request_i, tag_i}),
    .valid_o(given_valid),
    .ready_i(given_ready),
    .data_o({given, tag})
  );

  // Products ---------------------------------------------------------------------------------------------------------
  typedef struct packed {
    vector_op_t          op;
    logic [1:0]          width;    // of the factors
    logic [1:0]          d_width;
    logic [1:0]          vxrm;
    logic [7:0]          active;
    logic [63:0]         low;
    logic [63:0]         high;
    logic [63:0]         addend;
    logic [TagWidth-1:0] tag;
  } middle_t;

  middle_t middle_d, middle_q;
  logic exchanged;
  assign exchanged = given.op.code == VOP_MULTIPLY_ADD;

  always_comb begin
    middle_d.op      = given.op;
    middle_d.width   = (given.op.code == VOP_DOT) ? 2'd0 : width_of(given.sew, given.op.a_scale);
    middle_d.d_width = width_of(given.sew, given.op.d_scale);
    middle_d.vxrm    = given.vxrm;
    middle_d.active  = given.active;
    middle_d.addend  = exchanged ? given.a : given.c;
    middle_d.tag     = tag;
  end

  vector_product u_product (
    .width_i(middle_d.width),
    .a_i(exchanged ? given.c : given.a),
    .b_i(given.b),
    .a_signed_i(given.op.a_signed),
    .b_signed_i(given.op.b_signed),
    .low_o(middle_d.low),
    .high_o(middle_d.high)
  );

  logic middle_valid;
  pipe_stage #(
    .Width($bits(middle_t)),
    .Stages(MiddleStages)
  ) u_middle_stage (
    .clk_i,
    .rst_ni,
    .valid_i(given_valid),
    .ready_o(given_ready),
    .data_i(middle_d),
    .valid_o(middle_valid),
    .ready_i,
    .data_o(middle_q)
  );

  // Sums -------------------------------------------------------------------------------------------------------------
  logic [63:0] low, high, wide, product, sum, fraction, fractional, dot;
  assign low  = middle_q.low;
  assign high = middle_q.high;

  always_comb begin
    // Whole products of the lower half of the elements.
    case (middle_q.width)
      2'd0: for (int i = 0; i < 4; i++) wide[16*i+:16] = {high[8*i+:8], low[8*i+:8]};
      2'd1: for (int i = 0; i < 2; i++) wide[32*i+:32] = {high[16*i+:16], low[16*i+:16]};
      default: wide = {high[31:0], low[31:0]};
    endcase
    product = (middle_q.d_width == middle_q.width) ? low : wide;
  end

  logic [7:0] first, increment, overflow;
  logic [2:0] low_bits;
  assign low_bits = 3'((4'd1 << middle_q.d_width) - 4'd1);
  for (genvar i = 0; i < 8; i++) begin : gen_first
    assign first[i] = (3'(i) & low_bits) == 3'd0;
  end

  logic [7:0] unused_carry[2];
  vector_adder u_sum (
    .a_i(middle_q.addend),
    .b_i(product ^ {64{middle_q.op.negate_product}}),
    .carry_i({8{middle_q.op.negate_product}}),
    .first_i(first),
    .sum_o(sum),
    .carry_o(unused_carry[0])
  );

  // A product of fractions: one place to the left, rounded; only the square of -1 does not fit.
  logic [3:0][63:0] fractions;
  logic [3:0][7:0] increments, overflows;
  for (genvar width = 0; width < 4; width++) begin : gen_width
    localparam int unsigned Bits = 8 << width;
    localparam int unsigned Bytes = 1 << width;
    for (genvar i = 0; i < 64 / Bits; i++) begin : gen_element
      logic [Bits-1:0] upper, lower;
      logic odd, half, rest, up;
      assign upper = high[Bits*i+:Bits];
      assign lower = low[Bits*i+:Bits];
      assign odd   = lower[Bits-1];
      assign half  = lower[Bits-2];
      assign rest  = |lower[Bits-3:0];
      always_comb begin
        case (middle_q.vxrm)
          2'd0: up = half;
          2'd1: up = half & (rest | odd);
          2'd2: up = 1'b0;
          default: up = (half | rest) & ~odd;
        endcase
      end
      assign overflows[width][Bytes*i+:Bytes]  = {Bytes{~upper[Bits-1] & upper[Bits-2]}};
      assign increments[width][Bytes*i+:Bytes] = {Bytes{up}};
      assign fractions[width][Bits*i+:Bits] = (~upper[Bits-1] & upper[Bits-2]) ? {1'b0, {(Bits - 1) {1'b1}}}
                                              : {upper[Bits-2:0], lower[Bits-1]};
    end
  end
  assign fraction  = fractions[middle_q.width];
  assign increment = increments[middle_q.width];
  assign overflow  = overflows[middle_q.width];

  vector_adder u_rounding (
    .a_i(fraction),
    .b_i('0),
    .carry_i(increment),
    .first_i(first),
    .sum_o(fractional),
    .carry_o(unused_carry[1])
  );

  always_comb begin
    for (int i = 0; i < 2; i++) begin
      dot[32*i+:32] = middle_q.addend[32*i+:32];
      for (int j = 4 * i; j < 4 * i + 4; j++) begin
        dot[32*i+:32] += {{16{high[8*j+7] & (middle_q.op.a_signed | middle_q.op.b_signed)}}, high[8*j+:8], low[8*j+:8]};
      end
    end
  end

  always_comb begin
    result_o = '0;
    case (middle_q.op.code)
      VOP_LOW:        result_o.value = product;
      VOP_HIGH:       result_o.value = high;
      VOP_FRACTIONAL: begin
        result_o.value     = fractional;
        result_o.saturated = |(overflow & middle_q.active);
      end
      VOP_DOT:        result_o.value = dot;
      default:        result_o.value = sum;
    endcase
  end

  assign valid_o = middle_valid;
  assign tag_o   = middle_q.tag;

  // What only other units look at.
  logic unused;
  assign unused = ^{given, middle_q.op, unused_carry[0], unused_carry[1]};

endmodule
