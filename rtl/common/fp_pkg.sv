// Floating-point vocabulary shared by all units.
package fp_pkg;

  // Result formats. A BF16 value travels as the FP32 value with the same bits in its upper half.
  typedef enum logic {
    FP32 = 1'b0,
    BF16 = 1'b1
  } fp_fmt_e;

  // Rounding modes, numbered as in the frm field of fcsr.
  typedef enum logic [2:0] {
    RNE = 3'd0,
    RTZ = 3'd1,
    RDN = 3'd2,
    RUP = 3'd3,
    RMM = 3'd4
  } rm_e;

  // Exception flags in the order of fflags.
  typedef struct packed {
    logic nv;
    logic dz;
    logic of;
    logic uf;
    logic nx;
  } fflags_t;

  localparam logic [31:0] CanonicalNan = 32'h7FC0_0000;  // its upper half is BF16's

endpackage
