// Vocabulary of the cluster: accesses to L1 and DRAM, transfers of the DMA.
package cluster_pkg;
  import potluck_isa_pkg::*;

  localparam int unsigned VectorPorts = 4;   // of a core
  localparam int unsigned BeatBytes   = 64;  // of the DMA
  localparam int unsigned SuperBank   = BeatBytes / 8;  // banks of L1 that a beat takes

  // An access of eight bytes. It is answered with the word as it was, for everything but stores.
  typedef struct packed {
    logic        valid;
    logic        write;
    logic        atomic;
    op_e         op;       // of an atomic access
    logic        word;     // it concerns four bytes
    logic [63:0] address;
    logic [7:0]  strobe;
    logic [63:0] data;
  } narrow_t;

  // A beat: 64 bytes at an aligned address.
  typedef struct packed {
    logic                   valid;
    logic                   write;
    logic [63:0]            address;
    logic [BeatBytes-1:0]   strobe;
    logic [8*BeatBytes-1:0] data;
  } wide_t;

  // Rows of `size` bytes from one place to another.
  typedef struct packed {
    logic [63:0] source;
    logic [63:0] target;
    logic [63:0] source_stride;
    logic [63:0] target_stride;
    logic [31:0] size;
    logic [31:0] rows;
  } transfer_t;

endpackage
