// A register file with a busy bit for every register, from the cycle after an instruction that will write it has left
// (claim) to that in which the result is written. Values are read as they were before this cycle's writes.
`include "assertions.svh"

module core_registers
  import core_pkg::*;
#(
  parameter int unsigned ReadPorts  = 2,
  parameter int unsigned WritePorts = 2,
  parameter bit          ZeroFirst  = 1'b1  // register 0 is zero, and never busy
) (
  input  logic                        clk_i,
  input  logic                        rst_ni,
  input  logic [ReadPorts-1:0][4:0]   read_i,
  output logic [ReadPorts-1:0][63:0]  value_o,
  output logic [31:0]                 busy_o,
  input  logic                        claim_i,
  input  logic [4:0]                  claimed_i,
  input  write_t [WritePorts-1:0]     write_i
);

  logic [31:0][63:0] values_q;
  logic [31:0] busy_q, busy_d;

  for (genvar port = 0; port < ReadPorts; port++) begin : gen_read
    assign value_o[port] = values_q[read_i[port]];
  end

  always_comb begin
    busy_d = busy_q;
    if (claim_i) busy_d[claimed_i] = 1'b1;  // before the writes: a unit may have its result at once
    for (int unsigned port = 0; port < WritePorts; port++) begin
      if (write_i[port].valid) busy_d[write_i[port].register_number] = 1'b0;
    end
    if (ZeroFirst) busy_d[0] = 1'b0;
  end

  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) busy_q <= '0;
    else busy_q <= busy_d;
  end

  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      values_q <= '0;
    end else begin
      for (int unsigned port = 0; port < WritePorts; port++) begin
        if (write_i[port].valid && !(ZeroFirst && write_i[port].register_number == '0)) begin
          values_q[write_i[port].register_number] <= write_i[port].value;
        end
      end
    end
  end

  assign busy_o = busy_q;

  for (genvar port = 0; port < WritePorts; port++) begin : gen_assertions
    for (genvar other = 0; other < port; other++) begin : gen_other
      `POTLUCK_ASSERT(OneWriter, !(write_i[port].valid && write_i[other].valid &&
                                   write_i[port].register_number != '0 &&
                                   write_i[port].register_number == write_i[other].register_number))
    end
  end

endmodule
