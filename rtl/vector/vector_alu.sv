// Integer work on the elements of a word, but for products and quotients: sums, logic, shifts, comparisons, fixed
// point, extensions, choices by mask.
//
// Operands are first extended to the widest of them and of the result. The first half of the work is all that has no
// rounding; the second rounds by one increment, clips and puts narrower results together.
module vector_alu
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

  // Operands ---------------------------------------------------------------------------------------------------------
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

  logic [1:0] d_width, a_width, b_width, width;
  assign d_width = width_of(given.sew, given.op.d_scale);
  assign a_width = width_of(given.sew, given.op.a_scale);
  assign b_width = width_of(given.sew, given.op.b_scale);
  assign width   = widest_of(d_width, widest_of(a_width, b_width));

  logic [63:0] vs2, other, a, b;
  assign vs2   = extended(given.a, a_width, width, given.op.a_signed);
  assign other = extended(given.b, b_width, width, given.op.b_signed);
  assign a     = given.op.swap ? other : vs2;
  assign b     = given.op.swap ? vs2 : other;

  logic [7:0] first, last, chosen;  // bytes at the ends of an element; the mask's bit of each byte's element
  logic [2:0] low_bits;
  assign low_bits = 3'((4'd1 << width) - 4'd1);
  for (genvar i = 0; i < 8; i++) begin : gen_place
    assign first[i]  = (3'(i) & low_bits) == 3'd0;
    assign last[i]   = (3'(i) & low_bits) == low_bits;
    assign chosen[i] = given.mask[3'(i)>>width];
  end

  // Sums, differences, comparisons -----------------------------------------------------------------------------------
  logic subtract;
  always_comb begin
    case (given.op.code)
      VOP_SUB, VOP_SUB_SATURATING, VOP_SUB_AVERAGE, VOP_LESS, VOP_LESS_EQUAL, VOP_MIN, VOP_MAX, VOP_BORROW:
        subtract = 1'b1;
      default: subtract = 1'b0;
    endcase
  end

  logic [63:0] sum;
  logic [7:0] carry;
  vector_adder u_adder (
    .a_i(a),
    .b_i(b ^ {64{subtract}}),
    .carry_i({8{subtract}} ^ (chosen & {8{given.op.carry_in}})),
    .first_i(first),
    .sum_o(sum),
    .carry_o(carry)
  );

  // Of each byte; those of an element's last byte are its own.
  logic [7:0] overflow, sum_sign, less, same;
  for (genvar i = 0; i < 8; i++) begin : gen_compare
    logic a_sign, b_sign;
    assign a_sign      = a[8*i+7];
    assign b_sign      = b[8*i+7] ^ subtract;
    assign overflow[i] = ~(a_sign ^ b_sign) & (a_sign ^ sum[8*i+7]);
    // The bit above the sum, had the element one more.
    assign sum_sign[i] = given.op.a_signed ? sum[8*i+7] ^ overflow[i] : carry[i] ^ subtract;
    assign less[i]     = sum_sign[i];
    assign same[i]     = a[8*i+:8] == b[8*i+:8];
  end

  function automatic logic [7:0] spread(input logic [7:0] of_last, input logic [2:0] ones);
    for (int e = 0; e < 8; e++) spread[e] = of_last[3'(e)|ones];
  endfunction

  function automatic logic [63:0] bytes(input logic [7:0] bits);
    for (int e = 0; e < 8; e++) bytes[8*e+:8] = {8{bits[e]}};
  endfunction

  logic [7:0] element_less, element_same;
  assign element_less = spread(less, low_bits);
  for (genvar i = 0; i < 8; i++) begin : gen_same
    always_comb begin
      element_same[i] = 1'b1;
      for (int j = 0; j < 8; j++) begin
        if ((3'(j) | low_bits) == (3'(i) | low_bits)) element_same[i] &= same[j];
      end
    end
  end

  // Shifts -----------------------------------------------------------------------------------------------------------
  logic [63:0] shifted;
  logic [7:0] half, rest;
  vector_shifter u_shifter (
    .width_i(width),
    .a_i(a),
    .amount_i(b),
    .left_i(given.op.code == VOP_SHIFT_LEFT),
    .signed_i(given.op.a_signed),
    .value_o(shifted),
    .half_o(half),
    .rest_o(rest)
  );

  // The first half ---------------------------------------------------------------------------------------------------
  typedef struct packed {
    vector_op_t          op;
    logic [1:0]          width;
    logic [1:0]          d_width;
    logic [7:0]          active;
    logic [7:0]          first;
    logic [63:0]         value;
    logic [7:0]          increment;  // of the element that a byte belongs to
    logic [7:0]          bits;       // a comparison's, or whether it saturated
    logic [TagWidth-1:0] tag;
  } middle_t;

  middle_t middle_d, middle_q;
  logic [63:0] average, limit;
  logic [7:0] beyond;

  always_comb begin
    for (int i = 0; i < 8; i++) begin
      average[8*i+:8]   = {1'b0, sum[8*i+1+:7]};
      average[8*i+7]    = last[i] ? sum_sign[i] : sum[(8*i+8)%64];
      // Where an unsigned sum or a signed one goes that does not fit.
      limit[8*i+:8] = {8{~subtract}};
      if (given.op.a_signed) limit[8*i+:8] = {8{~a[8*{29'b0, 3'(i) | low_bits}+7]}} ^ {last[i], 7'b0};
    end
    beyond = spread(given.op.a_signed ? overflow : sum_sign, low_bits);
  end

  always_comb begin
    middle_d           = '0;
    middle_d.op        = given.op;
    middle_d.width     = width;
    middle_d.d_width   = d_width;
    middle_d.active    = given.active;
    middle_d.first     = first;
    middle_d.tag       = tag;
    case (given.op.code)
      VOP_ADD, VOP_SUB:  middle_d.value = sum;
      VOP_AND:           middle_d.value = a & b;
      VOP_OR:            middle_d.value = a | b;
      VOP_XOR:           middle_d.value = a ^ b;
      VOP_ANDN:          middle_d.value = a & ~b;
      VOP_ORN:           middle_d.value = a | ~b;
      VOP_NAND:          middle_d.value = ~(a & b);
      VOP_NOR:           middle_d.value = ~(a | b);
      VOP_XNOR:          middle_d.value = ~(a ^ b);
      VOP_MIN:           middle_d.value = (a & bytes(element_less)) | (b & ~bytes(element_less));
      VOP_MAX:           middle_d.value = (b & bytes(element_less)) | (a & ~bytes(element_less));
      VOP_MERGE:         middle_d.value = (b & bytes(chosen)) | (a & ~bytes(chosen));
      VOP_COPY_A:        middle_d.value = a;
      VOP_COPY_B:        middle_d.value = b;
      VOP_EQUAL:         middle_d.bits = element_same;
      VOP_DIFFERENT:     middle_d.bits = ~element_same;
      VOP_LESS:          middle_d.bits = element_less;
      VOP_LESS_EQUAL:    middle_d.bits = element_less | element_same;
      VOP_CARRY:         middle_d.bits = spread(carry, low_bits);
      VOP_BORROW:        middle_d.bits = ~spread(carry, low_bits);
      VOP_ADD_SATURATING, VOP_SUB_SATURATING: begin
        middle_d.value = (limit & bytes(beyond)) | (sum & ~bytes(beyond));
        middle_d.bits  = beyond;
      end
      VOP_ADD_AVERAGE, VOP_SUB_AVERAGE: middle_d.value = average;
      VOP_SHIFT_LEFT, VOP_SHIFT_RIGHT, VOP_SHIFT_ROUNDING, VOP_CLIP: middle_d.value = shifted;
      default: middle_d.value = a;
    endcase

    // Fixed-point rounding modes: to nearest up, to nearest even, down, to odd.
    for (int i = 0; i < 8; i++) begin
      logic is_average, odd, lost, more;
      logic [2:0] at;
      is_average = given.op.code == VOP_ADD_AVERAGE || given.op.code == VOP_SUB_AVERAGE;
      at   = 3'(i) & ~low_bits;
      odd  = middle_d.value[{at, 3'd0}];
      lost = is_average ? sum[{at, 3'd0}] : half[i];
      more = ~is_average & rest[i];
      if (is_average || given.op.code == VOP_SHIFT_ROUNDING || given.op.code == VOP_CLIP) begin
        case (given.vxrm)
          2'd0: middle_d.increment[i] = lost;
          2'd1: middle_d.increment[i] = lost & (more | odd);
          2'd2: middle_d.increment[i] = 1'b0;
          default: middle_d.increment[i] = (lost | more) & ~odd;
        endcase
      end
    end
  end

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

  // The second half --------------------------------------------------------------------------------------------------
  logic [63:0] rounded, clipped;
  logic [7:0] unused_carry, lost_bits, saturated;

  vector_adder u_rounding (
    .a_i(middle_q.value),
    .b_i('0),
    .carry_i(middle_q.increment),
    .first_i(middle_q.first),
    .sum_o(rounded),
    .carry_o(unused_carry)
  );

  vector_clip u_clip (
    .width_i(middle_q.width),
    .a_i(rounded),
    .signed_i(middle_q.op.a_signed),
    .value_o(clipped),
    .beyond_o(lost_bits)
  );

  logic [7:0] element_active, element_bits;
  always_comb begin
    element_active = '0;
    element_bits   = '0;
    for (int i = 0; i < 8; i++) begin
      if ((i << middle_q.width) < 8) begin
        element_active[i] = middle_q.active[3'(i << middle_q.width)];
        element_bits[i]   = middle_q.bits[3'(i << middle_q.width)];
      end
    end
    saturated = '0;
    if (middle_q.op.code == VOP_CLIP) saturated = lost_bits & element_active;
    if (middle_q.op.code == VOP_ADD_SATURATING || middle_q.op.code == VOP_SUB_SATURATING) begin
      saturated = element_bits & element_active;
    end
    result_o           = '0;
    result_o.saturated = |saturated;
    result_o.value     = narrowed((middle_q.op.code == VOP_CLIP) ? clipped : rounded, middle_q.width, middle_q.d_width);
    if (middle_q.op.compare) result_o.value = {56'b0, element_bits};
  end

  assign valid_o = middle_valid;
  assign tag_o   = middle_q.tag;

  // What only other units look at.
  logic unused;
  assign unused = ^{given.rm, given.e5m2, given.c, given.op, middle_q.op, unused_carry};

endmodule
