// One of the cluster's accelerator's requantizers: a sum a cycle, by one of three laws (potluck.isa.pot.array.LAWS).
//   0  min(max(sat32((sum m + 2^(t-1)) >> t) + zero_point, low), high), t = 0: neither rounded nor shifted
//   1  min(max(rne(FP32(sum) f) + zero_point, low), high), the product rounded to FP32 before
//   2  min(max(FP32(sum) f, float_low), float_high), -0 below +0
// f: exponent 0 is a zero, exponent 255 is 2^128 and a fraction; overflow is infinite. All laws share the multiplication:
// a 32-bit sum by m, or the 24-bit significand of the sum by that of f. The result leaves ten cycles after its sum.
module pot_requantizer #(
  localparam int unsigned Latency = 10
) (
  input  logic               clk_i,
  input  logic               rst_ni,

  // Of the layer: they must stay until its last result has left.
  input  logic [1:0]         law_i,
  input  logic signed [7:0]  zero_point_i,
  input  logic signed [7:0]  low_i,
  input  logic signed [7:0]  high_i,
  input  logic [31:0]        float_low_i,
  input  logic [31:0]        float_high_i,

  input  logic               valid_i,
  input  logic signed [31:0] sum_i,
  input  logic [31:0]        multiplier_i,  // m in its lower 31 bits, or FP32
  input  logic [5:0]         shift_i,

  output logic               valid_o,
  output logic [31:0]        result_o       // a code in its lowest byte, or FP32
);

  localparam logic [1:0] LawSingle = 2'd0, LawFloat = 2'd2;

  logic single;
  assign single = law_i == LawSingle;

  logic [Latency-1:0] valid_q;
  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) valid_q <= '0;
    else valid_q <= {valid_q[Latency-2:0], valid_i};
  end
  assign valid_o = valid_q[Latency-1];

  // 1: magnitude and its leading zeros.
  logic signed [31:0] sum1_q, sum2_q;
  logic [31:0] magnitude, magnitude1_q, word1_q, word2_q;
  logic [4:0] zeros, zeros1_q;
  logic empty;
  assign magnitude = sum_i[31] ? 32'd0 - $unsigned(sum_i) : $unsigned(sum_i);

  lzc #(
    .Width(32)
  ) u_lzc (
    .in_i   (magnitude),
    .count_o(zeros),
    .empty_o(empty)
  );

  // 2: FP32's significand of the sum: 24 bits to nearest even, a carry makes it a power of two.
  logic [31:0] aligned;
  logic [24:0] significand;
  logic up;
  assign aligned     = magnitude1_q << zeros1_q;
  assign up          = aligned[7] & (aligned[8] | (|aligned[6:0]));
  assign significand = {1'b0, aligned[31:8]} + 25'(up);

  // 3: operands. The sum's exponent is kept without bias, so that f's bias is the product's.
  logic signed [32:0] left_q, right_q;
  logic [5:0] exponent2_q;
  logic [24:0] significand2_q;
  logic empty1_q;
  logic zero2_q;

  // 4 to 6: the product; three registers for synthesis to move into it.
  logic signed [63:0] product_q[3];
  logic [3:0] sign_q, zero_q;  // from stage 3 on
  logic [3:0][8:0] exponent_q;
  logic [6:0][5:0] shift_q;

  // 7: rounding. An FP32 product has its leading one in bit 47 or 46.
  logic [63:0] half;
  logic signed [63:0] rounded_q;
  logic [47:0] product;
  logic above, raise;
  logic [23:0] kept;
  logic guard, sticky, carry;
  logic [22:0] fraction;
  assign half    = (shift_q[5] == 6'd0) ? 64'd0 : 64'd1 << (shift_q[5] - 6'd1);
  assign product = product_q[2][47:0];
  assign above   = product[47];
  assign kept    = above ? product[47:24] : product[46:23];
  assign guard   = above ? product[23] : product[22];
  assign sticky  = above ? |product[22:0] : |product[21:0];
  assign raise    = guard & (sticky | kept[0]);
  assign carry    = raise & (&kept);
  assign fraction = kept[22:0] + 23'(raise);

  logic [8:0] exponent7_q;
  logic [22:0] fraction7_q;
  logic sign7_q, zero7_q;

  // 8: the shift; FP32 put together, or its integer below 512.
  logic signed [63:0] shifted_q;
  logic sign8_q;
  logic [31:0] float_d, float8_q;
  logic overflow;
  assign overflow = exponent7_q >= 9'd255;
  always_comb begin
    if (zero7_q) float_d = {sign7_q, 31'd0};
    else if (overflow) float_d = {sign7_q, 8'hff, 23'd0};
    else float_d = {sign7_q, exponent7_q[7:0], fraction7_q};
  end

  // Nine places above the point, 25 below: a number from 256 on fills the first, one half is the first below the point.
  logic [33:0] spread;
  logic [9:0] integer_q;
  logic near, far, away;
  assign far    = exponent7_q >= 9'd136;  // 512 and more
  assign near   = exponent7_q < 9'd126;   // below one half
  assign spread = {1'b1, fraction7_q, 10'd0} >> 4'(9'd135 - exponent7_q);
  assign away   = spread[24] & (spread[25] | (|spread[23:0]));

  // 9: one value for both integer laws.
  logic fits;
  logic signed [31:0] value9_q;
  assign fits = (&shifted_q[63:31]) | ~(|shifted_q[63:31]);
  logic signed [31:0] negated;
  assign negated = sign8_q ? -$signed({22'd0, integer_q}) : $signed({22'd0, integer_q});
  logic [31:0] float9_q;

  // 10: zero point and clamps. FP32 is ordered as two's complement once the rest of negative numbers is inverted.
  logic signed [32:0] moved;
  assign moved = 33'(value9_q) + 33'(zero_point_i);

  function automatic logic signed [31:0] ordered(input logic [31:0] word);
    ordered = $signed({word[31], word[30:0] ^ {31{word[31]}}});
  endfunction

  logic [31:0] raised;
  assign raised = (ordered(float9_q) < ordered(float_low_i)) ? float_low_i : float9_q;

  logic [31:0] result_q;
  assign result_o = result_q;

  always_ff @(posedge clk_i) begin
    magnitude1_q <= magnitude;
    zeros1_q     <= zeros;
    empty1_q     <= empty;
    sum1_q       <= sum_i;
    word1_q      <= multiplier_i;

    significand2_q <= significand;
    exponent2_q    <= 6'd31 - 6'(zeros1_q) + 6'(significand[24]);
    zero2_q        <= empty1_q | (word1_q[30:23] == 8'd0);
    sum2_q         <= sum1_q;
    word2_q        <= word1_q;

    left_q  <= single ? 33'(sum2_q) : 33'({1'b0, significand2_q[24] ? 24'h80_0000 : significand2_q[23:0]});
    right_q <= single ? 33'({1'b0, word2_q[30:0]}) : 33'({1'b0, 1'b1, word2_q[22:0]});

    sign_q     <= {sign_q[2:0], sum2_q[31] ^ word2_q[31]};
    zero_q     <= {zero_q[2:0], zero2_q};
    exponent_q <= {exponent_q[2:0], 9'(word2_q[30:23]) + 9'(exponent2_q)};
    shift_q    <= {shift_q[5:0], shift_i};

    product_q[0] <= 64'(left_q) * 64'(right_q);
    product_q[1] <= product_q[0];
    product_q[2] <= product_q[1];

    rounded_q   <= product_q[2] + $signed(half);
    exponent7_q <= exponent_q[3] + 9'(above) + 9'(carry);
    fraction7_q <= fraction;
    sign7_q     <= sign_q[3];
    zero7_q     <= zero_q[3];

    shifted_q <= rounded_q >>> shift_q[6];
    float8_q  <= float_d;
    sign8_q   <= sign7_q;
    if (zero7_q | near) integer_q <= 10'd0;
    else if (far) integer_q <= 10'd512;
    else integer_q <= 10'(spread[33:25]) + 10'(away);

    if (!single) value9_q <= negated;
    else value9_q <= fits ? shifted_q[31:0] : {shifted_q[63], {31{~shifted_q[63]}}};
    float9_q <= float8_q;

    if (law_i == LawFloat) result_q <= (ordered(raised) > ordered(float_high_i)) ? float_high_i : raised;
    else result_q <= {24'd0, (moved < 33'(low_i)) ? low_i : (moved > 33'(high_i)) ? high_i : moved[7:0]};
  end

endmodule
