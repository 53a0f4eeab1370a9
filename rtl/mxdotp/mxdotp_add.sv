// Adds the accumulator to the scaled sum of products, exactly, and gives sign and magnitude.
//
// The sum stays where it is and the accumulator moves: scaling is a matter of exponents. distance_i is by how much
// the accumulator's last bit (of 24) stands above the sum's last bit: 11 - scale + acc exponent - 127.
module mxdotp_add
  import mxdotp_pkg::*;
(
  input  logic                       acc_sign_i,
  input  logic [23:0]                acc_mant_i,
  input  logic signed [9:0]          distance_i,
  input  logic signed [SumWidth-1:0] sum_i,
  output logic                       keep_o,    // the accumulator is the result, bit for bit
  output logic                       inexact_o, // only with keep_o: a nonzero sum was dropped
  output logic                       sign_o,
  output logic [MagWidth-1:0]        mag_o      // AddFraction bits below the sum's last bit
);

  logic nonzero, far;
  assign nonzero   = sum_i != '0;
  assign far       = distance_i > $signed(10'(MaxAccShift));
  assign keep_o    = far | (~nonzero & (distance_i < -10'sd24));
  assign inexact_o = far & nonzero;

  // Right shift from the leftmost place; the lowest bit collects what falls off.
  localparam int unsigned MaxShift = MaxAccShift + AddFraction + 24;
  logic signed [9:0] right;
  logic [6:0] amount;
  logic [AccWidth+23:0] moved;
  logic [AccWidth-1:0] acc;

  assign right  = $signed(10'(MaxAccShift)) - distance_i;
  assign amount = (right > $signed(10'(MaxShift))) ? 7'(MaxShift) : right[6:0];
  assign moved  = {acc_mant_i, {(AccWidth) {1'b0}}} >> amount;
  assign acc    = {moved[AccWidth+23:25], |moved[24:0]};

  // Sum and its negative side by side; the one that is not negative is the magnitude.
  logic [MagWidth:0] shifted, addend, total;
  logic [MagWidth-1:0] negated;
  assign shifted = {{(MagWidth + 1 - SumWidth - AddFraction) {sum_i[SumWidth-1]}}, sum_i, {AddFraction{1'b0}}};
  assign addend  = {2'b0, acc};
  assign total   = shifted + (addend ^ {(MagWidth + 1) {acc_sign_i}}) + {{MagWidth{1'b0}}, acc_sign_i};
  // -(s + a) = ~a + 1 - s, -(s - a) = a - s.
  assign negated = MagWidth'((addend ^ {(MagWidth + 1) {~acc_sign_i}}) - shifted + {{MagWidth{1'b0}}, ~acc_sign_i});
  assign sign_o = total[MagWidth];
  assign mag_o  = total[MagWidth] ? negated : total[MagWidth-1:0];

endmodule
