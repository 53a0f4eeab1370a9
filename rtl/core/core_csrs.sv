// Control and status registers: fcsr with the format bits of VMXDOTP, counters, the hart's number, and the vector CSRs,
// of which vl and vtype belong to the vector unit. A CSR that is not here is illegal, as is a write to a read-only one.
module core_csrs
  import potluck_isa_pkg::*;
#(
  parameter int unsigned VlenBytes = 64,
  parameter bit          HasVector = 1'b0
) (
  input  logic        clk_i,
  input  logic        rst_ni,
  input  logic [63:0] hart_i,
  input  logic [63:0] vl_i,
  input  logic [63:0] vtype_i,
  input  logic        running_i,
  input  logic        instruction_i,  // one leaves the core in this cycle

  input  op_e         op_i,
  input  logic [11:0] number_i,
  input  logic        no_write_i,     // the source is x0, or an immediate 0
  input  logic [63:0] source_i,
  input  logic        access_i,       // carry it out
  output logic        illegal_o,
  output logic        drains_o,       // wait until nothing is in flight
  output logic [63:0] old_o,

  input  logic [4:0]  flags_i,        // to be accrued
  input  logic        saturated_i,
  output logic [13:0] fcsr_o,
  output logic [1:0]  vxrm_o,
  output logic        partway_o       // vstart is not 0
);

  typedef enum logic [11:0] {
    Fflags   = 12'h001,
    Frm      = 12'h002,
    Fcsr     = 12'h003,
    Vstart   = 12'h008,
    Vxsat    = 12'h009,
    Vxrm     = 12'h00a,
    Vcsr     = 12'h00f,
    Fmode    = 12'h800,
    Mcycle   = 12'hb00,
    Minstret = 12'hb02,
    Cycle    = 12'hc00,
    Time     = 12'hc01,
    Instret  = 12'hc02,
    Vl       = 12'hc20,
    Vtype    = 12'hc21,
    Vlenb    = 12'hc22,
    Mhartid  = 12'hf14
  } csr_e;

  localparam int unsigned StartWidth = $clog2(8 * VlenBytes);

  logic [63:0] cycle_q, instructions_q;
  logic [13:0] fcsr_q, fcsr_d;
  logic [StartWidth-1:0] vstart_q;
  logic vxsat_q;
  logic [1:0] vxrm_q;
  logic known, read_only, write;
  logic [63:0] value;

  always_comb begin
    known     = 1'b1;
    read_only = 1'b0;
    drains_o  = 1'b0;
    old_o     = '0;
    case (number_i)
      Fflags: begin
        old_o    = {59'd0, fcsr_q[4:0] | flags_i};
        drains_o = 1'b1;
      end
      Frm: begin
        old_o    = {61'd0, fcsr_q[7:5]};
        drains_o = 1'b1;
      end
      Fcsr: begin
        old_o    = {50'd0, fcsr_q[13:5], fcsr_q[4:0] | flags_i};
        drains_o = 1'b1;
      end
      Fmode: begin
        old_o    = {58'd0, fcsr_q[13:8]};
        drains_o = 1'b1;
      end
      Vstart: old_o = 64'(vstart_q);
      Vxsat: begin
        old_o    = {63'd0, vxsat_q | saturated_i};
        drains_o = HasVector;
      end
      Vxrm:   old_o = {62'd0, vxrm_q};
      Vcsr: begin
        old_o    = {61'd0, vxrm_q, vxsat_q | saturated_i};
        drains_o = HasVector;
      end
      Mcycle, Cycle, Time: begin
        old_o     = cycle_q;
        read_only = 1'b1;
      end
      Minstret, Instret: begin
        old_o     = instructions_q;
        read_only = 1'b1;
      end
      Vl: begin
        old_o     = vl_i;
        read_only = 1'b1;
        drains_o  = HasVector;
      end
      Vtype: begin
        old_o     = vtype_i;
        read_only = 1'b1;
        drains_o  = HasVector;
      end
      Vlenb: begin
        old_o     = 64'(VlenBytes);
        read_only = 1'b1;
      end
      Mhartid: begin
        old_o     = hart_i;
        read_only = 1'b1;
      end
      default: known = 1'b0;
    endcase
  end

  always_comb begin
    case (op_i)
      OP_CSRRW, OP_CSRRWI: begin
        value = source_i;
        write = 1'b1;
      end
      OP_CSRRS, OP_CSRRSI: begin
        value = old_o | source_i;
        write = ~no_write_i;
      end
      default: begin
        value = old_o & ~source_i;
        write = ~no_write_i;
      end
    endcase
  end

  assign illegal_o = ~known | (read_only & write);

  always_comb begin
    fcsr_d      = fcsr_q;
    fcsr_d[4:0] = fcsr_q[4:0] | flags_i;
    if (access_i && write) begin
      case (number_i)
        Fflags: fcsr_d[4:0] = value[4:0];
        Frm:    fcsr_d[7:5] = value[2:0];
        Fcsr:   fcsr_d = value[13:0];
        Fmode:  fcsr_d[13:8] = value[5:0];
        default: ;
      endcase
    end
  end

  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      cycle_q        <= '0;
      instructions_q <= '0;
      fcsr_q         <= '0;
      vstart_q       <= '0;
      vxsat_q        <= 1'b0;
      vxrm_q         <= '0;
    end else begin
      if (running_i) cycle_q <= cycle_q + 64'd1;
      if (instruction_i) instructions_q <= instructions_q + 64'd1;
      fcsr_q <= fcsr_d;
      if (saturated_i) vxsat_q <= 1'b1;
      if (access_i && write) begin
        if (number_i == Vstart) vstart_q <= value[StartWidth-1:0];
        if (number_i == Vxsat || number_i == Vcsr) vxsat_q <= value[0];
        if (number_i == Vxrm) vxrm_q <= value[1:0];
        if (number_i == Vcsr) vxrm_q <= value[2:1];
      end
    end
  end

  assign fcsr_o    = fcsr_q;
  assign vxrm_o    = vxrm_q;
  assign partway_o = vstart_q != '0;

  // No register that is written is wider.
  logic unused;
  assign unused = ^value[63:14];

endmodule
