// The one rounding of a normalized number to any format of at most Width bits, with subnormals, overflow and flags
// (RISC-V: tiny after rounding). As fp_round, for more formats.
//
// The number is (-1)^sign * significand * 2^(exponent - Precision - 1): its highest bit is 1, unless it is zero, and
// its last one stands for everything below.
module vector_round
  import fp_pkg::*;
  import vector_pkg::*;
#(
  parameter int unsigned Width = 64,       // 16, 32 or 64
  parameter bit EnableFp8 = 1'b0,          // results of 8 bits; those saturate if told to
  localparam int unsigned Precision = (Width == 64) ? 53 : (Width == 32) ? 24 : 11
) (
  input  logic                 sign_i,
  input  logic signed [13:0]   exponent_i,
  input  logic [Precision+1:0] significand_i,
  input  float_e               fmt_i,
  input  rm_e                  rm_i,
  input  logic                 to_odd_i,    // toward zero, the last bit collects what is lost
  input  logic                 saturate_i,  // the largest number instead of an infinity
  output logic [Width-1:0]     result_o,    // in the low bits
  output fflags_t              flags_o
);

  localparam int unsigned Bits = Precision + 2;

  // A one at the last bit that the format keeps, in a significand of any width; its bias.
  logic [54:0] last;
  logic [Bits-1:0] unit;
  logic signed [13:0] bias;
  always_comb begin
    last = '0;
    case (fmt_i)
      VF_E5M2: last[52] = 1'b1;
      VF_E4M3: last[51] = 1'b1;
      VF_BF16: last[47] = 1'b1;
      VF_FP32: last[31] = 1'b1;
      VF_FP64: last[2] = 1'b1;
      default: last[44] = 1'b1;
    endcase
    case (fmt_i)
      VF_E4M3: bias = 14'sd7;
      VF_BF16, VF_FP32: bias = 14'sd127;
      VF_FP64: bias = 14'sd1023;
      default: bias = 14'sd15;
    endcase
  end
  assign unit = last[54-:Bits];

  // Below the normal numbers the significand moves right until the exponent fits.
  localparam int unsigned AmountWidth = $clog2(Bits + 1);
  logic subnormal;
  logic signed [13:0] distance;
  logic [AmountWidth-1:0] amount;
  logic [2*Bits-1:0] moved;
  logic [Bits-1:0] significand;

  assign distance    = 14'sd1 - bias - exponent_i;
  assign subnormal   = distance > 14'sd0;
  assign amount      = !subnormal ? '0 : (distance > 14'(Bits)) ? AmountWidth'(Bits) : distance[AmountWidth-1:0];
  assign moved       = {significand_i, {Bits{1'b0}}} >> amount;
  assign significand = {moved[2*Bits-1:Bits+1], |moved[Bits:0]};

  // Up by one unit in the last place or not.
  function automatic logic round_up(input logic sign, input logic lsb, input logic next, input logic more,
                                    input rm_e mode);
    case (mode)
      RNE:     round_up = next & (lsb | more);
      RDN:     round_up = sign & (next | more);
      RUP:     round_up = ~sign & (next | more);
      RMM:     round_up = next;
      default: round_up = 1'b0;
    endcase
  endfunction

  rm_e rm;
  assign rm = to_odd_i ? RTZ : rm_i;

  logic [Bits-1:0] below, kept;
  logic half, rest, inexact, up;
  assign below   = unit - Bits'(1);
  assign half    = |(significand & (unit >> 1));
  assign rest    = |(significand & (below >> 1));
  assign inexact = half | rest;
  assign up      = round_up(sign_i, |(significand & unit), half, rest, rm);
  assign kept    = (significand & ~below) | ((to_odd_i & inexact) ? unit : '0);

  // Exponent and fraction are one number: a carry out of the fraction is the next exponent.
  logic [11:0] field, top;
  logic signed [13:0] biased;
  logic [Bits+10:0] number;
  logic overflow, to_infinity, empty;

  assign empty  = ~significand_i[Bits-1];
  assign biased = exponent_i + bias;
  assign field  = (subnormal | empty) ? 12'd0 : (biased > 14'sd2047) ? 12'd2047 : biased[11:0];
  assign number = {field, kept[Bits-2:0]} + (up ? (Bits + 11)'(unit) : '0);

  always_comb begin
    top = 12'((bias << 1) + 14'sd1);
    // E4M3 has numbers where others have infinities, and a NaN as its last code.
    overflow = number[Bits+10-:12] >= top;
    if (fmt_i == VF_E4M3) overflow = number[Bits+10-:12] > top || (number[Bits+10-:12] == top && &number[Bits-2-:3]);
  end

  assign to_infinity = ~saturate_i & ~to_odd_i
                       & (rm_i == RNE || rm_i == RMM || (rm_i == RDN && sign_i) || (rm_i == RUP && !sign_i));

  logic [11:0] result_field;
  logic [Precision-2:0] result_fraction;
  always_comb begin
    result_field    = number[Bits+10-:12];
    result_fraction = number[Bits-2-:Precision-1];
    if (overflow) begin
      result_field    = (fmt_i == VF_E4M3 || to_infinity) ? top : top - 12'd1;
      result_fraction = to_infinity ? '0 : '1;
      if (fmt_i == VF_E4M3) result_fraction = {2'b11, to_infinity, {(Precision - 4) {1'b0}}};
    end
  end

  logic [51:0] digits;
  logic [63:0] result;
  always_comb begin
    digits                   = '0;
    digits[51-:Precision-1] = result_fraction;
    case (fmt_i)
      VF_E5M2: result = EnableFp8 ? {56'b0, sign_i, result_field[4:0], digits[51-:2]} : '0;
      VF_E4M3: result = EnableFp8 ? {56'b0, sign_i & ~(overflow & to_infinity), result_field[3:0], digits[51-:3]} : '0;
      VF_BF16: result = {48'b0, sign_i, result_field[7:0], digits[51-:7]};
      VF_FP32: result = {32'b0, sign_i, result_field[7:0], digits[51-:23]};
      VF_FP64: result = {sign_i, result_field[10:0], digits};
      default: result = {48'b0, sign_i, result_field[4:0], digits[51-:10]};
    endcase
  end
  assign result_o = result[Width-1:0];

  // A result that reached the smallest normal number by rounding is tiny, unless the unlimited one does, too.
  logic full_up, full_carry, tiny;
  assign full_up    = round_up(sign_i, |(significand_i & unit), |(significand_i & (unit >> 1)),
                               |(significand_i & (below >> 1)), rm);
  assign full_carry = full_up & (&(significand_i | below));
  assign tiny       = subnormal & ~(distance == 14'sd1 & full_carry);

  always_comb begin
    flags_o    = '0;
    flags_o.of = overflow;
    flags_o.uf = inexact & tiny;
    flags_o.nx = inexact | overflow;
  end

  // Of wider formats, and what is no part of the result.
  logic unused;
  assign unused = ^{last, result, result_field[11], kept[Bits-1], number[1:0]};

endmodule
