// Vocabulary of the VMXDOTP unit. Sections refer to the VMXDOTP fact sheet (docs/rtl.md restates them).
package mxdotp_pkg;

  // Element formats (OCP MX v1.0). Both operands of an operation have the same one.
  typedef enum logic [2:0] {
    E5M2 = 3'd0,
    E4M3 = 3'd1,
    E2M1 = 3'd2,
    E3M2 = 3'd3,
    E2M3 = 3'd4,
    INT8 = 3'd5
  } elem_fmt_e;

  localparam int unsigned OperandWidth = 64;
  localparam int unsigned Elements = 8;  // per operand at 8 bits each; E2M1 has twice as many

  // A decoded element is (-1)^sign * mant * 2^(exp - 3); INT8 is (-1)^sign * mant * 2^-6.
  localparam int unsigned ExpWidth = 6;

  // The sum of products is a fixed-point number with SumFraction bits below the binary point: the products of the
  // smallest E5M2 subnormals, 2^-32, are whole multiples of the last bit, and 8 * 57344^2 < 2^35 fits below the sign.
  localparam int unsigned SumFraction = 34;
  localparam int unsigned SumWidth = 70;

  // Largest left shift of the accumulator's last bit relative to the sum's. Beyond it the accumulator passes.
  localparam int unsigned MaxAccShift = 70;

  // Bits kept below the sum's last bit for an accumulator that is smaller. The shortest nonzero sum has one
  // significant bit, or none after cancelling half of it, and the result needs 24 and a round bit; the last of
  // these bits collects all that is below it.
  localparam int unsigned AddFraction = 26;
  localparam int unsigned AccWidth = 24 + MaxAccShift + AddFraction;
  localparam int unsigned MagWidth = AccWidth + 1;  // accumulator plus sum

  // What the elements of one lane hold besides finite numbers.
  typedef struct packed {
    logic nan;
    logic signalling;
    logic inf_zero;
    logic pos_inf;
    logic neg_inf;
  } special_t;

endpackage
