// The one rounding of a normalized number to FP32 or BF16, with subnormals, overflow and flags.
//
// The number is (-1)^sign * significand / 2^25 * 2^(exponent - 127): its highest bit is 1, unless it is zero, and
// its last bit stands for everything below it. A BF16 result lies in the upper half of result_o.
module fp_round
  import fp_pkg::*;
#(
  // Underflow is raised for an inexact result that is tiny. Tiny is a result whose exponent field is 0 (as the
  // VMXDOTP unit defines it), or, if exact, one that would be below the smallest normal number had the exponent
  // no limit (RISC-V, IEEE 754-2019 section 7.5, after rounding).
  parameter bit ExactTininess = 1'b0
) (
  input  logic               sign_i,
  input  logic signed [10:0] exponent_i,
  input  logic [25:0]        significand_i,
  input  fp_fmt_e            fmt_i,
  input  rm_e                rm_i,
  output logic [31:0]        result_o,
  output fflags_t            flags_o
);

  // Below the normal numbers the significand moves right until the exponent fits.
  logic subnormal;
  logic signed [10:0] distance;
  logic [4:0] amount;
  logic [50:0] moved;
  logic [24:0] significand;  // without the hidden bit

  assign subnormal   = exponent_i < 11'sd1;
  assign distance    = 11'sd1 - exponent_i;
  assign amount      = !subnormal ? 5'd0 : (distance > 11'sd26) ? 5'd26 : distance[4:0];
  assign moved       = 51'({significand_i, 26'b0} >> amount);
  assign significand = {moved[50:27], |moved[26:0]};

  // Up by one unit in the last place or not: lsb is the last bit kept, tail the first one dropped and the rest.
  function automatic logic round_up(input logic sign, input logic lsb, input logic [1:0] tail, input rm_e rm);
    case (rm)
      RNE:     round_up = tail[1] & (lsb | tail[0]);
      RDN:     round_up = sign & (|tail);
      RUP:     round_up = ~sign & (|tail);
      RMM:     round_up = tail[1];
      default: round_up = 1'b0;
    endcase
  endfunction

  logic last, half, rest, inexact, up;
  assign last    = (fmt_i == BF16) ? significand[18] : significand[2];
  assign half    = (fmt_i == BF16) ? significand[17] : significand[1];
  assign rest    = (fmt_i == BF16) ? |significand[16:0] : significand[0];
  assign inexact = half | rest;
  assign up      = round_up(sign_i, last, {half, rest}, rm_i);

  // Exponent and fraction are one number: a carry out of the fraction is the next exponent.
  logic [8:0] field;
  logic [31:0] truncated, magnitude;
  logic overflow, to_infinity;

  assign field     = (subnormal | ~significand_i[25]) ? 9'd0 : (exponent_i > 11'sd255) ? 9'd255 : exponent_i[8:0];
  assign truncated = {field, (fmt_i == BF16) ? {significand[24:18], 16'b0} : significand[24:2]};
  assign magnitude = truncated + ((fmt_i == BF16) ? {15'b0, up, 16'b0} : {31'b0, up});
  assign overflow  = magnitude[31:23] >= 9'd255;

  assign to_infinity = (rm_i == RNE) | (rm_i == RMM) | (rm_i == RDN & sign_i) | (rm_i == RUP & ~sign_i);

  always_comb begin
    result_o = {sign_i, magnitude[30:0]};
    if (overflow) begin
      result_o = {sign_i, (fmt_i == BF16) ? 31'h7F7F_0000 : 31'h7F7F_FFFF};
      if (to_infinity) result_o = {sign_i, 31'h7F80_0000};
    end
  end

  logic tiny;
  if (ExactTininess) begin : gen_exact_tininess
    // A result that reached the smallest normal number by rounding is tiny, unless the unlimited one does, too.
    logic full_up, full_carry;
    assign full_up = (fmt_i == BF16)
        ? round_up(sign_i, significand_i[18], {significand_i[17], |significand_i[16:0]}, rm_i)
        : round_up(sign_i, significand_i[2], significand_i[1:0], rm_i);
    assign full_carry = full_up & ((fmt_i == BF16) ? &significand_i[25:18] : &significand_i[25:2]);
    assign tiny = subnormal & ~(exponent_i == 11'sd0 & full_carry);
  end else begin : gen_field_tininess
    assign tiny = magnitude[31:23] == 9'd0;
  end

  always_comb begin
    flags_o    = '0;
    flags_o.of = overflow;
    flags_o.uf = inexact & tiny;
    flags_o.nx = inexact | overflow;
  end

endmodule
