// A division or root of one element before its first digit.
package vector_divide_pkg;

  import vector_pkg::*;

  typedef struct packed {
    logic               is_float;
    logic               root;
    logic               remainder;
    logic [6:0]         bits;      // of the quotient
    logic [52:0]        partial;   // remainder to start from
    logic [63:0]        stream;    // bits of the dividend that follow
    logic [63:0]        divisor;
    float_e             fmt;
    logic signed [13:0] exponent;  // of a quotient of 1 or more
    logic               negative;
    logic               nan;       // the result is known already
    logic               infinite;
    logic               zero;
    logic               invalid;
    logic               by_zero;
  } start_t;

endpackage
