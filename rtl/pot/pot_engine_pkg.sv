// What the parts of the cluster's accelerator hand to each other.
package pot_engine_pkg;

  import potluck_pot_command_pkg::*;

  // Sizes and addresses inside the accelerator. No buffer is larger than 64 KiB: what is more stands at the end of the
  // range, and signed differences of addresses of one row fit.
  typedef logic [17:0] size_t;

  // How many loads, computations and stores of the queue must have ended.
  typedef struct packed {
    logic [15:0] loads;
    logic [15:0] computes;
    logic [15:0] stores;
  } counts_t;

  // A load or store: rows of memory, one after the other in a slot. Weights are one row.
  typedef struct packed {
    logic               weights;
    logic               slot;
    logic [63:0]        address;
    size_t              rows;
    logic [31:0]        row_bytes;
    logic signed [31:0] stride;
    size_t              offset;
    size_t              lines;  // of a weight block, counted in words: 8 bytes a unit
  } transfer_t;

  // A computation and the products of its fields, addresses modulo 2^18.
  typedef struct packed {
    compute_t fields;
    size_t    pixels;       // of the output
    size_t    taps;
    size_t    depth;        // of a window; of a channel, if depthwise
    size_t    lines;        // of a weight block
    size_t    rounds;       // a weight block of each unit is a round
    size_t    row_pitch;    // bytes of a row of the input
    size_t    column_step;  // bytes from a window to the next one
    size_t    row_step;     // from a row of windows to the next one
    size_t    tap_step;     // inside a window, from a column to the next one
    size_t    tap_row_step; // from a row to the next one
    size_t    run_bytes;    // of a row of a window without gaps
    size_t    left;         // before the border
    size_t    top;
  } work_t;

endpackage
